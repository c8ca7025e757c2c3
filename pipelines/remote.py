"""Calls to Ray actors: every failure of Ray is turned into an error of ours.

It tells "the work failed" (the actor's own error) from "Ray failed" (UnavailableError: try again).
"""

from typing import Any

from core.errors import StageError, UnavailableError

_POLL_SECONDS = 0.1
"""How long `ended` waits, and so how soon a waiting caller sees that it must stop."""


class CallCancelledError(StageError):
    """The call was cancelled before it ended."""

    code = "cancelled"


def result_of(reference: Any, timeout: float | None = None) -> Any:
    """The result of a call. Raises the actor's own error, or UnavailableError when Ray or the actor is away."""
    import ray
    from ray.exceptions import RayError, RayTaskError, TaskCancelledError

    try:
        return ray.get(reference, timeout=timeout)
    except TaskCancelledError:
        raise CallCancelledError from None
    except RayTaskError as error:
        raise error.cause from None
    except (RayError, ConnectionError) as error:
        raise UnavailableError(f"Ray does not answer: {type(error).__name__}") from error


def ended(references: list[Any]) -> list[Any]:
    """Those of the calls that have ended, after a short wait for the first of them."""
    import ray
    from ray.exceptions import RayError

    try:
        done, _ = ray.wait(references, timeout=_POLL_SECONDS)
    except (RayError, ConnectionError) as error:
        raise UnavailableError(f"Ray does not answer: {type(error).__name__}") from error
    return list(done)


def cancel(references: list[Any]) -> None:
    """Take back calls that have not begun, and tell the others to stop."""
    import ray
    from ray.exceptions import RayError

    for reference in references:
        try:
            ray.cancel(reference)
        except (RayError, ConnectionError):
            # Ray went away, and the call with it
            return


def check_cancelled() -> None:
    """Inside an actor: raise CallCancelledError when the caller cancelled the call at hand."""
    import ray

    if ray.get_runtime_context().is_canceled():
        raise CallCancelledError
