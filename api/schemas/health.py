"""Health on the wire."""

from datetime import datetime
from typing import Literal

from api.schemas.fields import Answer, Number, View


class BackendsView(View):
    """The published six: whether each part answers."""

    cache: bool
    metadata: bool
    vector_store: bool
    object_storage: bool
    task_queue: bool
    inference: bool


class HealthView(Answer):
    """The published HealthCheckResponse."""

    status: Literal["OK", "DEGRADED"]
    data: BackendsView
    errors: dict[str, str]
    """What does not answer."""
    meta: dict[str, str]


class TimedAnswerView(View):
    """Whether a part answers, and how fast."""

    ok: bool
    ms: Number
    """Milliseconds to the answer."""


class DeepBackendsView(View):
    """The published six, timed."""

    cache: TimedAnswerView
    metadata: TimedAnswerView
    vector_store: TimedAnswerView
    object_storage: TimedAnswerView
    task_queue: TimedAnswerView
    inference: TimedAnswerView


class ProcessView(View):
    """A living process of ours."""

    role: str
    at: datetime
    """When it was heard of last."""


class DeepHealthView(Answer):
    """Health with times, processes, and what waits."""

    status: Literal["OK", "DEGRADED"]
    services: DeepBackendsView
    processes: list[ProcessView]
    processes_missing: list[str]
    """Roles of which nobody lives."""
    doorbells_waiting: int | None
    """Doorbells that no worker has taken; null while the broker is away."""


class BeatView(Answer):
    """Whether the sweeper lives."""

    beat_running: bool
    last_heartbeat: datetime | None
    age_seconds: Number | None


class AliveView(Answer):
    """This process runs, or can take requests."""

    status: Literal["OK", "UNAVAILABLE"]
