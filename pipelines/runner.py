"""What workers use to run stages: one call per chain, bounded chunks for an ingestion, cancelled when told to stop.

Raises StageError when the work failed, UnavailableError when Ray did, CallCancelledError when the caller wanted it.
"""

import threading
import time
from collections.abc import Collection as Sized
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from config.settings import Settings
from core.backends.backend import Backend
from core.buckets.bucket import StoredObject
from core.collections.collection import Collection
from core.errors import BackendAwayError, KeystageError, StageError, UnavailableError
from core.language_models.catalogue import overrides_text
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.vault.resolved import ResolvedSecrets
from pipelines.actors import ActorConfig, CallContext, ModelAccess
from pipelines.chain import ChainResult
from pipelines.cluster import Attachment, Cluster
from pipelines.embedders.registry import EmbedderSpec
from pipelines.extractors.extractor import ObjectReport
from pipelines.index_rebuild import RebuiltPage
from pipelines.ingestion import ChunkResult
from pipelines.llm.providers import LlmSettings, ProviderSettings
from pipelines.remote import CallCancelledError, cancel, ended, result_of

__all__ = ["CallCancelledError", "CallContext", "ChainResult", "ChunkResult", "Health", "ObjectReport", "Runner"]

_CALLS_PER_ACTOR = 2
"""Chunks on their way to one actor: one at work, one waiting for it."""
_MOST_SECRET_BYTES = 8 * 1024 * 1024
"""Ray takes 10 MB of direct arguments in one call, and puts the rest into its object store."""
_HEALTH_SECONDS = 4.0
_SELF_TEST_SECONDS = 60.0
_PROBE_INTERVAL_SECONDS = 2.0
_STOP_SECONDS = 3.0
"""A chain looks ten times a second whether it is to stop, but not within an embedding or a template."""


@dataclass(frozen=True)
class Health:
    """What answered just now."""

    vectors: bool
    inference: bool


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

    def attach(self) -> None:
        """Connect and make the actors, or find them. Raises UnavailableError."""
        self._cluster.attached()

    def self_test(self) -> None:
        """Store and find a text through every actor. Raises UnavailableError."""
        attachment = self._cluster.attached()
        try:
            with self._watching(attachment):
                tests = [actor.self_test.options(concurrency_group="probes").remote() for actor in attachment.stages]
                result_of(tests, timeout=_SELF_TEST_SECONDS)
        except KeystageError as error:
            raise UnavailableError(f"The self-test failed: {error.message}") from error

    def health(self) -> Health:
        """Whether vectors and inference answer now. A cluster that does not answer is a value here, not an error."""
        return Health(vectors=self._answers("vectors_answer"), inference=self._answers("inference_answers"))

    def probe_ray(self) -> None:
        """Raise BackendAwayError when Ray does not answer."""
        try:
            self._cluster.probe()
        except UnavailableError as error:
            raise BackendAwayError(Backend.RAY) from error

    def probe_vectors(self) -> None:
        """Raise BackendAwayError when the vectors, or Ray, do not answer."""
        self.probe_ray()
        if not self._answers("vectors_answer"):
            raise BackendAwayError(Backend.VECTORS)

    def probe_inference(self) -> None:
        """Raise BackendAwayError when the embedder, or Ray, does not answer."""
        self.probe_ray()
        if not self._answers("inference_answers"):
            raise BackendAwayError(Backend.EMBEDDER)

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
        attachment, actor = self._cluster.next_stage_actor()
        with self._watching(attachment):
            method = actor.run_chain.options(name=call.namespace_id, concurrency_group="chains")
            running = [method.remote(call, stages, inputs, collection_ids, limit, access, *secrets.by_name.values())]
            with _cancelled_unless_done(running):
                try:
                    self._wait(running, should_stop)
                except CallCancelledError:
                    _wait_for_its_end(running)
                result: ChainResult = result_of(running.pop())
        return result

    def extract(
        self,
        call: CallContext,
        collection: Collection,
        objects: Sequence[StoredObject],
        should_stop: threading.Event,
    ) -> Iterator[ChunkResult]:
        """Extract objects in bounded chunks over all actors; each chunk as it is done, in any order."""
        attachment = self._cluster.attached()
        chunks = iter([objects[at : at + self._chunk_objects] for at in range(0, len(objects), self._chunk_objects)])
        running: dict[Any, Any] = {}

        def send(actor: Any) -> None:
            if chunk := next(chunks, None):
                method = actor.extract.options(name=call.namespace_id, concurrency_group="extraction")
                running[method.remote(call, collection, chunk)] = actor

        with self._watching(attachment), _cancelled_unless_done(running):
            for actor in attachment.stages * _CALLS_PER_ACTOR:
                send(actor)
            while running:
                for reference in self._wait(running, should_stop):
                    actor = running.pop(reference)
                    result: ChunkResult = result_of(reference)
                    send(actor)
                    yield result

    def drop_vectors(self, call: CallContext, should_stop: threading.Event) -> bool:
        """Remove all vectors of the call's namespace; whether there was anything."""
        return bool(self._one_call(call, "drop_vectors", should_stop))

    def rebuild_index(self, call: CallContext, start: str | None, should_stop: threading.Event) -> RebuiltPage:
        """Write the lexical index of some of the namespace's documents anew, from the point `start` on."""
        page: RebuiltPage = self._one_call(call, "rebuild_index", should_stop, start)
        return page

    def _one_call(self, call: CallContext, method: str, should_stop: threading.Event, *arguments: Any) -> Any:
        attachment, actor = self._cluster.next_stage_actor()
        with self._watching(attachment):
            options = getattr(actor, method).options(name=call.namespace_id, concurrency_group="chains")
            running = [options.remote(call, *arguments)]
            with _cancelled_unless_done(running):
                self._wait(running, should_stop)
                return result_of(running.pop())

    def _wait(self, running: Sized[Any], should_stop: threading.Event) -> list[Any]:
        """The calls that ended, at least one. Raises CallCancelledError when told to stop, UnavailableError."""
        probe_at = time.monotonic() + _PROBE_INTERVAL_SECONDS
        while True:
            if should_stop.is_set():
                raise CallCancelledError
            if done := ended(list(running)):
                return done
            if time.monotonic() > probe_at:
                # a call to a Ray that died does not fail by itself
                self._cluster.probe()
                probe_at = time.monotonic() + _PROBE_INTERVAL_SECONDS

    def _answers(self, probe: str) -> bool:
        try:
            attachment, actor = self._cluster.next_stage_actor()
            with self._watching(attachment):
                reference = getattr(actor, probe).options(concurrency_group="probes").remote()
                return bool(result_of(reference, timeout=_HEALTH_SECONDS))
        except KeystageError:
            return False

    @contextmanager
    def _watching(self, attachment: Attachment) -> Iterator[None]:
        """Attach again before the next call when Ray fails in this one."""
        try:
            yield
        except UnavailableError:
            self._cluster.lost(attachment)
            raise


def _wait_for_its_end(running: Sized[Any]) -> None:
    """Tell a chain to stop, and wait a little until it did: its end says what was spent. Raises CallCancelledError."""
    cancel(list(running))
    give_up_at = time.monotonic() + _STOP_SECONDS
    while not ended(list(running)):
        if time.monotonic() > give_up_at:
            raise CallCancelledError


@contextmanager
def _cancelled_unless_done(running: Sized[Any]) -> Iterator[None]:
    """Cancel what is still running when the block is left."""
    try:
        yield
    finally:
        cancel(list(running))


def actor_config(settings: Settings) -> ActorConfig:
    """The values of the settings that actors need; never the settings themselves."""
    return ActorConfig(
        embedder=EmbedderSpec.for_name(settings.embedder, settings.openai_base_url, settings.openai_api_key),
        blob_url=settings.blobs,
        vectors_dir=None if settings.qdrant_url else settings.vectors_dir,
        open_namespaces=settings.open_namespaces,
        qdrant_url=settings.qdrant_url,
        qdrant_api_key=settings.qdrant_api_key,
        qdrant_tls_ca_file=settings.qdrant_tls_ca_file,
        log_level=settings.log_level,
        log_format=settings.log_format,
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
