"""What workers use to run stages: one call per chain, bounded chunks for an ingestion, cancelled when told to stop.

Raises StageError when the work failed, UnavailableError when Ray did, CallCancelledError when the caller wanted it.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog

from config.beside import beside
from config.settings import Settings
from core.backends.backend import Backend
from core.buckets.bucket import StoredObject
from core.collections.collection import Collection
from core.errors import BackendAwayError, KeystageError, StageError, UnavailableError
from core.language_models.catalogue import overrides_text
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.vault.resolved import ResolvedSecrets
from pipelines.actors import ActorConfig, CallContext, ModelAccess
from pipelines.calls import Calls
from pipelines.chain import ChainResult
from pipelines.cluster import Cluster
from pipelines.embedders.registry import EmbedderSpec
from pipelines.extractors.extractor import ObjectReport
from pipelines.extractors.reader import FileBounds
from pipelines.index_rebuild import RebuiltPage
from pipelines.ingestion import ChunkResult
from pipelines.llm.providers import LlmSettings, ProviderSettings
from pipelines.load import Kind
from pipelines.probes import Probes
from pipelines.remote import CallCancelledError, result_of, send

__all__ = ["CallCancelledError", "CallContext", "ChainResult", "ChunkResult", "ObjectReport", "Runner"]

_MOST_SECRET_BYTES = 8 * 1024 * 1024
"""Ray takes far more in one call, and puts what is beyond that into its object store."""
_SELF_TEST_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Runner:
    """Runs stages on the cluster that the settings name. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._chunk_objects = settings.ingestion_chunk_objects
        self._llm = llm_settings(settings)
        self._cluster = Cluster(
            settings.ray_address,
            settings.ray_auth_token,
            settings.ray_tls_environment,
            actor_config(settings),
            settings.stage_actors,
        )
        self._calls = Calls(self._cluster)
        self._probes = Probes(self._cluster, settings.embedder.startswith("openai:"))

    def attach(self) -> None:
        """Connect and make the actors, or find them. Raises UnavailableError."""
        self._cluster.attached()

    def self_test(self) -> None:
        """Store and find a text through every actor. Raises UnavailableError when an actor cannot.

        Another backend that is away is not the actors' fault: the jobs that need it wait for it.
        """
        attachment = self._cluster.attached()
        try:
            tests = [send(actor.self_test.options(concurrency_group=Kind.PROBES.value)) for actor in attachment.stages]
            self._cluster.outcome(beside(lambda: result_of(tests), "self-test"), _SELF_TEST_SECONDS)
        except BackendAwayError as error:
            if error.backend is Backend.RAY:
                self._cluster.lost(attachment)
                raise
            log.warning("self_test.backend_away", backend=error.backend.value, error=error.message)
        except KeystageError as error:
            raise UnavailableError(f"The self-test failed: {error.message}") from error

    def probe_ray(self) -> None:
        """Raise BackendAwayError within 1.5 s unless Ray answers."""
        self._probes.ray()

    def probe_vectors(self) -> None:
        """Raise BackendAwayError within 1.5 s unless the vectors answer; of Ray when that is in the way."""
        self._probes.vectors()

    def probe_inference(self) -> None:
        """Raise BackendAwayError within 1.5 s unless texts get vectors; of Ray when that is in the way."""
        self._probes.inference()

    def run_chain(
        self,
        call: CallContext,
        stages: Sequence[Mapping[str, Any]],
        inputs: Mapping[str, Any],
        collection_ids: Sequence[str],
        limit: int,
        should_stop: threading.Event,
        secrets: ResolvedSecrets,
        llm_budget: int,
        most_found: int = MOST_DOCUMENTS,
    ) -> ChainResult:
        """Run a retriever's stored stages in one call.

        The secrets go as direct arguments of this call, never by `ray.put`; `llm_budget` (milli-credits) is what the
        job's hold leaves for models that are asked with the platform's key, `most_found` the documents that it was
        reckoned for. A StageError, CallCancelledError among
        them, says what of it was `spent`.
        """
        if sum(len(value.encode()) for value in secrets.values) > _MOST_SECRET_BYTES:
            raise StageError(f"The secrets of one execution may have {_MOST_SECRET_BYTES} bytes together.")
        if should_stop.is_set():
            # no secret leaves for a job that has ended already
            raise CallCancelledError
        access = ModelAccess(self._llm, llm_budget, most_found)
        arguments = (stages, inputs, collection_ids, limit, access, *secrets.by_name.values())
        result: ChainResult = self._calls.one(Kind.CHAINS, call, "run_chain", arguments, should_stop)
        return result

    def extract(
        self,
        call: CallContext,
        collection: Collection,
        objects: Sequence[StoredObject],
        should_stop: threading.Event,
    ) -> Iterator[ChunkResult]:
        """Extract objects in bounded chunks over all actors; each chunk as it is done, in any order."""
        size = self._chunk_objects
        chunks = [(collection, objects[at : at + size]) for at in range(0, len(objects), size)]
        yield from self._calls.many(Kind.EXTRACTION, call, "extract", chunks, should_stop)

    def drop_vectors(self, call: CallContext, should_stop: threading.Event) -> bool:
        """Remove all vectors of the call's namespace; whether there was anything."""
        return bool(self._calls.one(Kind.UPKEEP, call, "drop_vectors", (), should_stop))

    def rebuild_index(self, call: CallContext, start: str | None, should_stop: threading.Event) -> RebuiltPage:
        """Write the lexical index of some of the namespace's documents anew, from the point `start` on."""
        page: RebuiltPage = self._calls.one(Kind.UPKEEP, call, "rebuild_index", (start,), should_stop)
        return page


def actor_config(settings: Settings) -> ActorConfig:
    """The values of the settings that actors need; never the settings themselves."""
    return ActorConfig(
        embedder=EmbedderSpec.for_name(
            settings.embedder, settings.openai_base_url, settings.openai_api_key, settings.embedding_seconds
        ),
        blob_url=settings.blobs,
        vectors_dir=None if settings.qdrant_url else settings.vectors_dir,
        open_namespaces=settings.open_namespaces,
        qdrant_url=settings.qdrant_url,
        qdrant_api_key=settings.qdrant_api_key,
        qdrant_tls_ca_file=settings.qdrant_tls_ca_file,
        log_level=settings.log_level,
        log_format=settings.log_format,
        file_bounds=FileBounds(settings.file_seconds, settings.file_memory_mb),
        egress_allow_cidrs=settings.egress_allow_cidrs,
    )


def llm_settings(settings: Settings) -> LlmSettings:
    """How models are reached, with the platform's keys as values that hide themselves."""
    return LlmSettings(
        {
            "openai": ProviderSettings(settings.openai_base_url, settings.openai_api_key),
            "anthropic": ProviderSettings(settings.anthropic_base_url, settings.anthropic_api_key),
            "google": ProviderSettings(settings.google_base_url, settings.google_api_key),
        },
        settings.llm_timeout_seconds,
        settings.llm_most_concurrent,
        overrides_text(settings.models),
    )
