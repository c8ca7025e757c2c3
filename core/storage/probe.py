"""Asks once, without patience, whether a backend answers. Keeps no connection."""

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from core.errors import KeystageError
from core.storage.blobs import BlobStore
from core.storage.mongo import Document

_PATIENCE_SECONDS = 2.0


def mongo_answers(database: Database[Document]) -> bool:
    """Whether MongoDB answers."""
    try:
        with pymongo.timeout(_PATIENCE_SECONDS):
            database.client.admin.command("ping")
    except PyMongoError:
        return False
    return True


def redis_answers(redis: Redis) -> bool:
    """Whether Redis answers."""
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def blobs_answer(blobs: BlobStore) -> bool:
    """Whether the object storage answers; of a local folder, whether it takes a write."""
    try:
        blobs.probe()
    except KeystageError:
        return False
    return True
