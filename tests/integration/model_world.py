"""A namespace with three documents and a server for its models, in which stages run as an actor runs them."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from core.ids import Prefix, point_id, random_id
from core.language_models.catalogue import overrides_text
from core.retrievers.stages import parse_stages
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.store import Point
from core.vault.resolved import ResolvedSecret, ResolvedSecrets
from pipelines.chain import ChainResult, run_stages
from pipelines.embedders.embedder import Embedder
from pipelines.embedders.minilm import builtin_embedder
from pipelines.llm.access import Llm
from pipelines.llm.providers import LlmSettings, ProviderPool, ProviderSettings
from pipelines.remote import CallCancelledError
from pipelines.room import Room
from pipelines.stage import StageContext
from tests.llm_provider import LlmServer, llm_server

PROVIDERS = ("openai", "anthropic", "google")
PLATFORM = {name: f"platform-key-of-{name}" for name in PROVIDERS}
VAULT = {name: f"vault-key-for-{name}" for name in PROVIDERS}
PLENTY = 10**9
TEXTS = ("Keys are rotated in the vault.", "Bread is baked in an oven.", "Doorbells wake the workers.")


@dataclass
class Library:
    """Three documents of one collection, and the model that embedded them."""

    vectors: EdgeVectorStore
    embedder: Embedder
    namespace_id: str


@dataclass
class World:
    """A namespace with three documents, and a server for its models."""

    server: LlmServer
    library: Library
    pool: ProviderPool = field(default_factory=ProviderPool)
    room: Room = field(default_factory=Room)

    def run(
        self,
        *stages: dict[str, Any],
        secrets: Mapping[str, str | ResolvedSecret] | None = None,
        platform: bool = True,
        budget: int = PLENTY,
        inputs: dict[str, Any] | None = None,
        timeout: float = 30.0,
        stop: threading.Event | None = None,
        day: date = date(2026, 12, 1),
        models: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> ChainResult:
        """Run stages as an actor does."""
        settings = LlmSettings(
            {
                name: ProviderSettings(self.server.base_url(name), SecretStr(PLATFORM[name]) if platform else None)
                for name in PROVIDERS
            },
            timeout_seconds=timeout,
            model_overrides=overrides_text(models or {}),
        )
        resolved = {
            name: value if isinstance(value, ResolvedSecret) else ResolvedSecret(name, value)
            for name, value in (secrets or {}).items()
        }
        secrets_of_it = ResolvedSecrets(resolved)
        llm = Llm(self.pool, settings, secrets_of_it, budget, lambda: day)
        context = StageContext(
            self.library.namespace_id,
            ("col_1",),
            self.library.vectors,
            self.library.embedder,
            secrets=secrets_of_it,
            llm=llm,
            room=self.room,
        )
        assert not any(key in repr((context, settings)) for key in (*PLATFORM.values(), *VAULT.values()))

        def check() -> None:
            if stop and stop.is_set():
                raise CallCancelledError

        return run_stages(parse_stages(list(stages)), inputs or {}, context, 100, check)


@contextmanager
def library(directory: Path) -> Iterator[Library]:
    """Fill a library."""
    embedder, vectors, namespace_id = builtin_embedder(), EdgeVectorStore(directory), random_id(Prefix.NAMESPACE)
    vectors.ensure(namespace_id, embedder.dimension)
    vectors.upsert(
        namespace_id,
        [
            Point(
                point_id(f"doc_{number}"),
                embedder.embed([text])[0],
                document_vector(text),
                {
                    "namespace_id": namespace_id,
                    "collection_id": "col_1",
                    "document_id": f"doc_{number}",
                    "text": text,
                    "number": number,
                    "kind": "tech" if number != 1 else "food",
                },
            )
            for number, text in enumerate(TEXTS)
        ],
    )
    yield Library(vectors, embedder, namespace_id)
    vectors.close()


@contextmanager
def world_around(library: Library) -> Iterator[World]:
    """The library with a server of its own."""
    with llm_server() as server:
        world = World(server, library)
        yield world
        # a call that still has its connection would lose it unclosed
        wait_for_calls_under_way()
        world.pool.close()


def wait_for_calls_under_way() -> None:
    """Of stages that ended before them."""
    for thread in threading.enumerate():
        if thread.name.startswith("documents"):
            thread.join(30)


def enrich(**parameters: Any) -> dict[str, Any]:
    """An `llm_enrich`, the first stage or a later one."""
    return {"stage_id": "llm_enrich", "parameters": {"prompt": "Summarize this document.", **parameters}}


def limit_one() -> dict[str, Any]:
    """A first stage that finds one document."""
    return {"stage_id": "attribute_filter", "parameters": {"field": "kind", "value": "food"}}
