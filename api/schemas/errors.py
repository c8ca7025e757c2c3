"""The published error envelope on the wire. It names no status: `api/errors.py` does."""

from typing import Any, Literal

from api.schemas.fields import View


class ErrorDetailView(View):
    """What went wrong."""

    message: str
    """What is wrong, in a sentence."""
    type: str
    """The kind of error, one for each status and reason."""
    code: str
    """A stable name for programs."""
    details: dict[str, Any]
    """Facts about it; for a `ValidationError` each bad field in `validation_errors`; for a `ServiceUnavailableError`
    in `backend` the part that does not answer, where one is known."""


class ErrorView(View):
    """The published ErrorResponse."""

    success: Literal[False]
    """Always false."""
    status: int
    """The HTTP status."""
    error: ErrorDetailView
    """The error itself."""
    request_id: str
    """Name it when you ask about this error."""
