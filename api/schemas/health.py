"""Health on the wire."""

from datetime import datetime
from typing import Literal

from api.schemas.fields import Answer, Number, View


class BackendsView(View):
    """The published six: whether each part answers."""

    cache: bool
    """Redis."""
    metadata: bool
    """MongoDB."""
    vector_store: bool
    """The vectors, as a worker sees them."""
    object_storage: bool
    """The blobs."""
    task_queue: bool
    """The doorbells."""
    inference: bool
    """The embedder, as a worker sees it."""


class HealthView(Answer):
    """The published HealthCheckResponse."""

    status: Literal["OK", "DEGRADED"]
    """DEGRADED when there is an error."""
    data: BackendsView
    """Each part."""
    errors: dict[str, str]
    """What does not answer: one of the six, `key_service` or `compute`; and `disk`, when the disk of a local object
    storage is full."""
    meta: dict[str, str]
    """Always empty."""


class TimedAnswerView(View):
    """Whether a part answers, and how fast."""

    ok: bool
    """Whether it answers."""
    ms: Number
    """Milliseconds to the answer."""


class DeepBackendsView(View):
    """The published six, timed."""

    cache: TimedAnswerView
    """Redis."""
    metadata: TimedAnswerView
    """MongoDB."""
    vector_store: TimedAnswerView
    """The vectors, as a worker sees them."""
    object_storage: TimedAnswerView
    """The blobs."""
    task_queue: TimedAnswerView
    """The doorbells."""
    inference: TimedAnswerView
    """The embedder, as a worker sees it."""


class ProcessView(View):
    """A living process of ours."""

    role: str
    """What it does."""
    at: datetime
    """When it was heard of last."""


class DeepHealthView(HealthView):
    """Health with times, processes, and what waits. It is DEGRADED, too, when a process is missing."""

    services: DeepBackendsView
    """Each part, timed."""
    processes: list[ProcessView]
    """The processes that live."""
    processes_missing: list[str]
    """Roles of which nobody lives."""
    doorbells_waiting: int | None
    """Doorbells that no worker has taken; null while the broker is away."""


class BeatView(Answer):
    """Whether the sweeper lives."""

    beat_running: bool
    """Whether it was heard of lately."""
    last_heartbeat: datetime | None
    """When it was heard of last."""
    age_seconds: Number | None
    """How long ago that is."""


class AliveView(Answer):
    """This process runs, or can take requests."""

    status: Literal["OK", "UNAVAILABLE"]
    """OK when it does."""
