"""The actor that runs stages. It holds models and connections, and nothing of a tenant between two calls.

It gets values and never settings.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from pydantic import SecretStr

from config.logging_setup import bind_unit_of_work, configure_logs, unbind_unit_of_work
from core.buckets.bucket import StoredObject
from core.collections.collection import Collection
from core.egress.policy import EgressPolicy
from core.egress.transport import deadline
from core.errors import BackendAwayError, StageError, UnavailableError
from core.ids import Prefix, point_id
from core.recent import Recent
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.retrievers.stages import StageSpec
from core.storage.blobs import BlobStore
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.store import Point, VectorSearch, VectorStore
from core.vault.resolved import ResolvedSecret, ResolvedSecrets
from core.words import INDEX_FORM
from pipelines.chain import ChainResult, run_stages
from pipelines.embedders.embedder import Embedder
from pipelines.embedders.registry import EmbedderSpec, build_embedder
from pipelines.extractors.extractor import ExtractionContext
from pipelines.extractors.reader import FileBounds, Reader
from pipelines.index_rebuild import RebuiltPage, rebuild_page
from pipelines.ingestion import ChunkResult, ingest
from pipelines.llm.access import Llm
from pipelines.llm.providers import LlmSettings, ProviderPool
from pipelines.remote import CallCancelledError
from pipelines.stage import StageContext
from pipelines.vectors_actor import VectorsProxy

if TYPE_CHECKING:
    from core.storage.vectors.server import ServerVectorStore

_PROBE_TEXT = "Does it answer?"
_CALLS_TO_STOP = 1024
_PROBE_SECONDS = 1.5
"""As long as a worker waits for a probe's answer."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CallContext:
    """Whose work a call is."""

    namespace_id: str
    job_id: str
    request_id: str
    index_form: int = INDEX_FORM
    """the oldest form that the namespace's lexical index may have"""
    call_id: str = ""
    """by which this call alone is told to stop"""


@dataclass(frozen=True)
class ActorConfig:
    """The values that an actor is built from."""

    embedder: EmbedderSpec
    blob_url: str
    vectors_dir: Path | None
    """where the owner of the in-process engine keeps its shards; None with a Qdrant server"""
    open_namespaces: int
    """shards that the owner keeps open"""
    qdrant_url: str | None
    qdrant_api_key: SecretStr | None
    qdrant_tls_ca_file: Path | None
    log_level: str
    log_format: str
    file_bounds: FileBounds
    """what reading and cutting one file may take"""
    egress_allow_cidrs: tuple[str, ...] = ()
    """ranges that `api_call` may reach although they are not public"""


@dataclass(frozen=True)
class ModelAccess:
    """What a call brings for asking models. It travels as a direct argument, and no node of Ray keeps it."""

    settings: LlmSettings
    budget: int
    """milli-credits that the job's hold leaves for models"""
    most_found: int = MOST_DOCUMENTS
    """documents that they are held for at most"""


class StageActor:
    """Runs chains of stages, and extracts objects, in one process with warm models."""

    def __init__(self, config: ActorConfig, vectors_owner: Any) -> None:
        """Load the models. `vectors_owner` is the engine's actor, or None with a Qdrant server. Raises StageError.

        An embedding endpoint that is away is asked again by the first call that needs it.
        """
        configure_logs(config.log_level, config.log_format, "stages")
        self._config = config
        self._loading = threading.Lock()
        self._loaded: Embedder | None = None
        with suppress(UnavailableError):
            self._embedder()
        self._blobs = BlobStore(config.blob_url)
        self._server = _qdrant_server(config)
        self._owner = vectors_owner
        self._egress = EgressPolicy.allowing(config.egress_allow_cidrs)
        self._providers = ProviderPool()
        self._reader = Reader(config.file_bounds, config.log_level, config.log_format)
        self._to_stop: Recent[str, bool] = Recent(_CALLS_TO_STOP)
        """calls that were told to stop, begun or not"""

    def config(self) -> ActorConfig:
        """What this actor was built from, for callers that expect something else."""
        return self._config

    def stop(self, call_id: str) -> None:
        """Have a call end with CallCancelledError as soon as it looks, or right when it begins."""
        self._to_stop.put(call_id, True)

    def run_chain(
        self,
        call: CallContext,
        stages: Sequence[Mapping[str, Any]],
        inputs: Mapping[str, Any],
        collection_ids: Sequence[str],
        limit: int,
        access: ModelAccess,
        *secrets: ResolvedSecret,
    ) -> ChainResult:
        """Run stored stages one after the other. Raises StageError, UnavailableError.

        Each secret is an argument of its own: what is larger than 100 kB Ray puts into its object store.
        """
        specs = [StageSpec.from_stored(stage) for stage in stages]
        with self._begun(call, "+".join(spec.stage_id for spec in specs)) as check_cancelled:
            resolved = ResolvedSecrets({secret.name: secret for secret in secrets})
            vectors = self._vectors(call.namespace_id)
            llm = Llm(self._providers, access.settings, resolved, access.budget)
            context = StageContext(
                call.namespace_id,
                tuple(collection_ids),
                vectors,
                self._embedder(),
                resolved,
                llm,
                self._egress,
                index_form=call.index_form,
                most_found=access.most_found,
            )
            return run_stages(specs, inputs, context, limit, check_cancelled)

    def extract(self, call: CallContext, collection: Collection, objects: Sequence[StoredObject]) -> ChunkResult:
        """Extract a few objects and store their vectors. Raises StageError, UnavailableError."""
        with self._begun(call, collection.extractor.name) as check_cancelled:
            vectors = self._vectors(call.namespace_id)
            context = ExtractionContext(
                call.namespace_id, collection, self._embedder(), self._blobs, self._reader, check_cancelled
            )
            return ingest(objects, context, vectors)

    def drop_vectors(self, call: CallContext) -> bool:
        """Remove all vectors of the call's namespace; whether there was anything. Raises UnavailableError."""
        with self._begun(call, "drop_vectors"):
            return self._vectors(call.namespace_id).drop(call.namespace_id)

    def rebuild_index(self, call: CallContext, start: str | None) -> RebuiltPage:
        """Write the lexical index of some of the namespace's documents anew. Raises UnavailableError."""
        with self._begun(call, "rebuild_index"):
            return rebuild_page(self._vectors(call.namespace_id), call.namespace_id, start)

    def self_test(self) -> None:
        """Embed, store and find one text, for real. Raises what fails."""
        store, namespace_id = self._probe()
        embedder = self._embedder()
        vector = embedder.embed([_PROBE_TEXT])[0]
        payload = {"namespace_id": namespace_id, "text": _PROBE_TEXT}
        store.ensure(namespace_id, embedder.dimension)
        store.upsert(namespace_id, [Point(point_id("self-test"), vector, document_vector(_PROBE_TEXT), payload)])
        if len(store.search(namespace_id, [VectorSearch(document_vector(_PROBE_TEXT), limit=1)], 1)) != 1:
            raise RuntimeError("the self-test did not find the text it stored")

    def inference_answers(self) -> bool:
        """Whether the embedder gives a vector of length 1. What refuses a text, or is busy, answers; no second try is
        begun. Raises BackendAwayError."""
        try:
            with deadline(_PROBE_SECONDS):
                vector = self._embedder().embed([_PROBE_TEXT])[0]
        except BackendAwayError:
            raise
        except (StageError, UnavailableError) as error:
            log.warning("inference.refuses_its_probe", error=error.message)
            return True
        return bool(np.isclose(np.linalg.norm(vector), 1, atol=1e-3))

    def vectors_answer(self) -> bool:
        """Whether the Qdrant server answers, whatever it holds. Raises BackendAwayError. The owner of the embedded
        engine is asked itself."""
        if self._server is not None:
            self._server.probe()
        return True

    @contextmanager
    def _begun(self, call: CallContext, stage: str) -> Iterator[Callable[[], None]]:
        """Around a call: what raises CallCancelledError once it was told to stop."""

        def check_cancelled() -> None:
            if self._to_stop.get(call.call_id, False):
                raise CallCancelledError

        with _bound(call, stage):
            check_cancelled()
            yield check_cancelled

    def _vectors(self, namespace_id: str) -> VectorStore:
        return self._server or VectorsProxy(self._owner, namespace_id)

    def _embedder(self) -> Embedder:
        with self._loading:
            if self._loaded is None:
                self._loaded = build_embedder(self._config.embedder)
            return self._loaded

    def _probe(self) -> tuple[VectorStore, str]:
        # one place per dimension: another embedder does not collide with what an earlier one stored
        namespace_id = f"{Prefix.NAMESPACE}selftest{self._embedder().dimension}"
        return self._vectors(namespace_id), namespace_id


def _qdrant_server(config: ActorConfig) -> "ServerVectorStore | None":
    """The vector store on a Qdrant server, if that is where vectors are."""
    if not config.qdrant_url:
        return None
    from core.storage.vectors.server import connect_qdrant

    key = config.qdrant_api_key
    return connect_qdrant(config.qdrant_url, key.get_secret_value() if key else None, config.qdrant_tls_ca_file)


@contextmanager
def _bound(call: CallContext, stage: str) -> Iterator[None]:
    """Put the call's ids, and what it runs, on the log lines of this thread."""
    facts = {
        "request_id": call.request_id,
        "namespace_id": call.namespace_id,
        "job_id": call.job_id,
        "stage": stage,
    }
    bind_unit_of_work(facts)
    try:
        yield
    finally:
        unbind_unit_of_work(*facts)
