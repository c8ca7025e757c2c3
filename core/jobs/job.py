"""A job, its states and the one table of allowed moves. Pure: no database, no clock.

`docs/job-states.md` draws the table; a test holds the two against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from core.backends.backend import Backend
from core.storage.scope import NamespaceScope
from core.webhooks.event import Event


class JobKind(StrEnum):
    """What a job does."""

    INGESTION = "ingestion"
    """a submitted batch: objects become documents"""
    RETRIEVER = "retriever"
    """one execution of a retriever"""
    NAMESPACE_DELETION = "namespace_deletion"
    """everything in a namespace that nobody reads any more is removed; it cannot be cancelled"""
    INDEX_REBUILD = "index_rebuild"
    """the lexical index of a namespace that an earlier release wrote is written anew"""


MAINTENANCE: Final = frozenset({JobKind.NAMESPACE_DELETION, JobKind.INDEX_REBUILD})
"""Jobs of the operator's: their end is told to nobody."""


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    """recorded; nobody has claimed it"""
    RUNNING = "running"
    """a worker holds its lease and drives its stages"""
    FINISHING = "finishing"
    """decided: outcome and charge are fixed, credits are being settled"""
    SUCCEEDED = "succeeded"
    """all of it was done"""
    PARTIAL = "partial"
    """some objects were done, others failed, or some of an object could not be read"""
    FAILED = "failed"
    """it could not be done; nothing was charged but models that it had asked with the platform's key"""
    CANCELLED = "cancelled"
    """somebody stopped it; charged as one that failed"""


class Move(StrEnum):
    """What takes a job from one state to another."""

    CLAIM = "claim"
    """a worker takes the lease; counts an attempt"""
    HAND_BACK = "hand back"
    """the worker cannot go on now; due again later"""
    CANCEL = "cancel"
    """decided while no worker holds it: cancelled, or withdrawn and then removed"""
    DECIDE = "decide"
    """the outcome is known"""
    FINISH = "finish"
    """credits are settled; the final state and its events are written together"""


MOVES: Final[Mapping[Move, Mapping[JobState, frozenset[JobState]]]] = {
    Move.CLAIM: {
        JobState.QUEUED: frozenset({JobState.RUNNING}),
        JobState.RUNNING: frozenset({JobState.RUNNING}),
        # claimed to be settled or announced by another worker; the state stays
        JobState.FINISHING: frozenset({JobState.FINISHING}),
    },
    Move.HAND_BACK: {JobState.RUNNING: frozenset({JobState.QUEUED})},
    Move.CANCEL: {JobState.QUEUED: frozenset({JobState.FINISHING})},
    Move.DECIDE: {JobState.RUNNING: frozenset({JobState.FINISHING})},
    Move.FINISH: {
        JobState.FINISHING: frozenset({JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED})
    },
}
"""The state table: every write of a state is one of these."""

FINAL_STATES: Final = MOVES[Move.FINISH][JobState.FINISHING]
"""States that never change again."""

WAITS_NO_MORE: Final[Mapping[str, Any]] = {"$unset": ["waiting_for", "waits", "refusals"]}
"""A step of the update that decides a job: an ended one waits for nothing."""


def states_before(move: Move) -> list[str]:
    """The states from which `move` may be made, as a query lists them."""
    return sorted(state.value for state in MOVES[move])


def states_after(move: Move) -> list[str]:
    """The states to which `move` leads, as a query lists them."""
    return sorted({state.value for states in MOVES[move].values() for state in states})


@dataclass(frozen=True)
class JobError:
    """Why a job failed: a stable code and a sentence that is safe to show."""

    code: str
    message: str


@dataclass(frozen=True)
class Decision:
    """How a job ends: fixed once, under the fence, before any credit moves."""

    outcome: JobState
    charge: int = 0
    """milli-credits to capture; the rest of the hold is released"""
    result: Mapping[str, Any] = field(default_factory=dict)
    """small facts and pointers, never the documents themselves"""
    error: JobError | None = None

    def __post_init__(self) -> None:
        if self.outcome not in FINAL_STATES:
            raise ValueError(f"{self.outcome} is not an outcome")

    @property
    def is_withdrawn(self) -> bool:
        """Whether the job is taken back, as if it had never been recorded: nothing is charged, and nobody is told."""
        return bool(self.result.get(WITHDRAWN_MARK))


WITHDRAWN_MARK: Final = "withdrawn"
WITHDRAWN: Final = Decision(JobState.CANCELLED, result={WITHDRAWN_MARK: True})
"""How a job ends whose caller was told that it cannot be done now."""


@dataclass(frozen=True)
class NewJob:
    """What intake knows about a job."""

    job_id: str
    kind: JobKind
    spec: Mapping[str, Any]
    """what to do: ids and validated parameters, never a secret"""
    hold: int
    """milli-credits held for it"""
    request_id: str
    awaited: bool = False
    """whether an API thread waits for its end"""


@dataclass(frozen=True)
class Job:
    """One stored job."""

    job_id: str
    scope: NamespaceScope
    kind: JobKind
    state: JobState
    spec: Mapping[str, Any]
    hold: int
    hold_id: str
    """the hold in the ledger"""
    fence: int
    """grows with every claim; a writer with an older one is refused"""
    attempts: int
    """claims that ran, or tried to run, the stages"""
    owner: str | None
    due_at: datetime | None
    """when it may be claimed: when to run, when the lease ends, or at once while anything is owed"""
    request_id: str
    awaited: bool
    cancel_requested: bool
    done: frozenset[str]
    """checkpoint: the pieces that a retry does not repeat"""
    progress: Mapping[str, int]
    decision: Decision | None
    events: tuple[Event, ...]
    """outbox: told to nobody yet"""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reports: tuple[Mapping[str, Any], ...] = ()
    """checkpoint: what there is to say of pieces that are done"""
    waiting_for: Backend | None = None
    """the backend that was away when the job was tried last; it goes on by itself"""
    waits: int = 0
    """tries in a row that found one away, until one comes further; none of them is an attempt"""
    refusals: int = 0
    """the last of them, at a backend that refused the job and answered its own probe"""
    spent: int = 0
    """milli-credits for models, asked with the platform's key by the last try that was broken off"""

    @property
    def is_stuck(self) -> bool:
        """Whether nobody drives it, because a backend is away."""
        return self.state is JobState.QUEUED and self.waiting_for is not None

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.state in FINAL_STATES

    @property
    def usage(self) -> dict[str, Any]:
        """What its charge is for, as the ledger keeps it: the same at each try."""
        names = ("batch_id", "collection_ids") if self.kind is JobKind.INGESTION else ("retriever_id",)
        ids = {name: self.spec[name] for name in names if name in self.spec}
        return {"operation": self.kind.value, "namespace_id": self.scope.namespace_id, **ids}


def outbox_events_of(documents: list[Mapping[str, Any]]) -> tuple[Event, ...]:
    """The outbox as values."""
    return tuple(Event.from_document(document) for document in documents)


def job_from_document(found: Mapping[str, Any]) -> Job:
    """Read a job as the stores write it."""
    return Job(
        job_id=found["_id"],
        scope=NamespaceScope(found["internal_id"], found["namespace_id"]),
        kind=JobKind(found["kind"]),
        state=JobState(found["state"]),
        spec=found["spec"],
        hold=found["hold"],
        hold_id=found["hold_id"],
        fence=found["fence"],
        attempts=found["attempts"],
        owner=found.get("owner"),
        due_at=found.get("due_at"),
        request_id=found["request_id"],
        awaited=found["awaited"],
        cancel_requested=found["cancel_requested"],
        done=frozenset(found["done"]),
        progress=found["progress"],
        decision=_decision(found.get("decision")),
        events=outbox_events_of(found["events"]),
        created_at=found["created_at"],
        started_at=found.get("started_at"),
        finished_at=found.get("finished_at"),
        reports=tuple(found.get("reports", ())),
        waiting_for=Backend(waiting) if (waiting := found.get("waiting_for")) else None,
        waits=found.get("waits", 0),
        refusals=found.get("refusals", 0),
        spent=found.get("spent", 0),
    )


def decision_document(decision: Decision) -> dict[str, Any]:
    """A decision as MongoDB stores it."""
    error = decision.error
    return {
        "outcome": decision.outcome.value,
        "charge": decision.charge,
        "result": dict(decision.result),
        "error": {"code": error.code, "message": error.message} if error else None,
    }


def _decision(found: Mapping[str, Any] | None) -> Decision | None:
    if not found:
        return None
    error = found["error"]
    return Decision(
        outcome=JobState(found["outcome"]),
        charge=found["charge"],
        result=found["result"],
        error=JobError(error["code"], error["message"]) if error else None,
    )
