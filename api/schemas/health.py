"""Health on the wire."""

from typing import Literal

from api.schemas.fields import Answer, View


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


class AliveView(Answer):
    """This process runs, or can take requests."""

    status: Literal["OK", "UNAVAILABLE"]
