"""Health on the wire."""

from typing import Literal

from api.schemas.fields import Answer, View


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
    """DEGRADED when a part does not answer."""
    data: BackendsView
    """Each part."""
    errors: dict[str, str]
    """What does not answer."""
    meta: dict[str, str]
    """Always empty."""


class AliveView(Answer):
    """This process runs, or can take requests."""

    status: Literal["OK", "UNAVAILABLE"]
    """OK when it does."""
