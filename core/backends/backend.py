"""The parts that run apart from our own processes, by name. Pure: it reaches none of them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Backend(StrEnum):
    """One such part. The first six are named as the published health answer names them."""

    REDIS = "cache"
    MONGO = "metadata"
    VECTORS = "vector_store"
    BLOBS = "object_storage"
    BROKER = "task_queue"
    EMBEDDER = "inference"
    KEY_SERVICE = "key_service"
    """what wraps the vault's keys: KMS, Vault's transit engine, a mounted file"""
    RAY = "compute"


TITLES: Final[Mapping[Backend, str]] = {
    Backend.REDIS: "Redis",
    Backend.MONGO: "MongoDB",
    Backend.VECTORS: "The vector store",
    Backend.BLOBS: "Object storage",
    Backend.BROKER: "The broker",
    Backend.EMBEDDER: "The embedding endpoint",
    Backend.KEY_SERVICE: "The key service",
    Backend.RAY: "Ray",
}
"""How a sentence for people begins that is about one."""
