"""What a stage is given and gives back. Types only; a stage keeps no secret, no settings and no tenant state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from core.egress.policy import EgressPolicy
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.storage.vectors.store import VectorStore
from core.vault.resolved import NO_SECRETS, ResolvedSecrets
from core.words import INDEX_FORM
from pipelines.embedders.embedder import Embedder
from pipelines.llm.access import Llm
from pipelines.llm.providers import LlmSettings, ProviderPool
from pipelines.room import Room

Document: TypeAlias = dict[str, Any]
"""document_id, collection_id, score, text, and the fields that its object brought."""

P = TypeVar("P")


def _no_models() -> Llm:
    return Llm(ProviderPool(), LlmSettings())


def _go_on() -> None:
    """Nobody cancels."""


@dataclass(frozen=True)
class StageContext:
    """What one execution works with. Its repr shows no secret, and neither do those of its parts."""

    namespace_id: str
    collection_ids: tuple[str, ...]
    """the retriever's collections; a stage that finds documents stays within them"""
    vectors: VectorStore
    embedder: Embedder
    secrets: ResolvedSecrets = field(default=NO_SECRETS, repr=False)
    """the values that this execution's stages name"""
    llm: Llm = field(default_factory=_no_models, repr=False)
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    """where a stage may call out to"""
    room: Room = field(default_factory=Room, repr=False)
    """what all stages of the execution may put into documents"""
    index_form: int = INDEX_FORM
    """the oldest form that the namespace's lexical index may have"""
    most_found: int = MOST_DOCUMENTS
    """documents that there were when the execution was paid for: no stage gives on more"""
    check_cancelled: Callable[[], None] = field(default=_go_on, repr=False)
    """raises when the execution was cancelled; asked from the chain's own thread only"""


@dataclass(frozen=True)
class StageInput(Generic[P]):
    """The stage's parameters, placeholders filled in, and the documents of the stage before."""

    parameters: P
    documents: list[Document] | None
    """None for the first stage: it has to find its documents itself"""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """the execution's inputs, for templates"""
    stage_name: str = ""


@dataclass(frozen=True)
class StageOutput:
    """The documents for the next stage."""

    documents: list[Document]
    truncated: bool = False
    """whether more documents fitted than a stage may give on"""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """what the stage's statistics say besides: failed or skipped documents"""
    exhausted: bool = False
    """whether the credits ended before the last document: the chain stops here"""


Stage: TypeAlias = Callable[[StageInput[P], StageContext], StageOutput]
"""A stage is one function. It raises StageError when it cannot do its work."""


def document_of(payload: Any, score: float) -> Document:
    """A found point as a document."""
    return {**{name: value for name, value in payload.items() if name != "namespace_id"}, "score": score}
