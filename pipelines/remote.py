"""Calls to Ray actors: every failure of Ray is turned into an error of ours.

A call is never cancelled through Ray: one that was cancelled before it reached its actor leaves a gap in the order of
the actor's calls, and all that are sent there later wait for it for ever.
It tells "the work failed" (the actor's own error) from "the actor ended under it" (ActorLostError) and from "Ray does
not answer" (BackendAwayError). It never asks Ray which of these is the cause of the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.backends.backend import Backend
from core.errors import ActorLostError, BackendAwayError, StageError

_POLL_SECONDS = 0.1
"""How long `ended` waits, and so how soon a waiting caller sees that it must stop."""


class CallCancelledError(StageError):
    """The call was cancelled before it ended."""

    code = "cancelled"


@contextmanager
def asking_ray(did: str = "does not answer") -> Iterator[None]:
    """Around whatever Ray itself is asked: each failure of Ray's is a BackendAwayError, in which `did` says of what."""
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, ConnectionError) as error:
        raise BackendAwayError(Backend.RAY, f"{did}: {type(error).__name__}") from error


def send(method: Any, *arguments: Any) -> Any:
    """Send a call to an actor; its reference. Raises BackendAwayError when Ray does not take it."""
    with asking_ray():
        return method.remote(*arguments)


def result_of(reference: Any, timeout: float | None = None) -> Any:
    """The result of a call. Raises the actor's own error, ActorLostError, or BackendAwayError.

    A call that did not end within `timeout` seconds is told of as a Ray that stays silent: the caller knows better.
    """
    import ray
    from ray import exceptions as failed

    try:
        return ray.get(reference, timeout=timeout)
    except failed.RayTaskError as error:
        raise error.cause from None
    except failed.GetTimeoutError:
        raise BackendAwayError(Backend.RAY, "did not answer in time", silent=True) from None
    except (
        failed.RayActorError,
        failed.WorkerCrashedError,
        failed.NodeDiedError,
        failed.OutOfMemoryError,
        failed.ObjectLostError,
    ) as error:
        raise ActorLostError(f"The process that ran the stages ended under the call: {type(error).__name__}") from error
    except (failed.RayError, ConnectionError) as error:
        raise BackendAwayError(Backend.RAY, f"does not answer: {type(error).__name__}") from error


def ended(references: list[Any], seconds: float = _POLL_SECONDS) -> list[Any]:
    """Those of the calls that have ended, after a short wait for the first of them."""
    import ray

    with asking_ray():
        # a result is not fetched for the question: a frozen raylet would never give it
        done, _ = ray.wait(references, num_returns=1, timeout=seconds, fetch_local=False)
    return list(done)


def end_actor(actor: Any, restart: bool = False) -> None:
    """End an actor's process at once, for good or to have it made again."""
    import ray
    from ray.exceptions import RayError

    try:
        ray.kill(actor, no_restart=not restart)
    except (RayError, ValueError, ConnectionError, RuntimeError):
        # Ray went away, and the actor with it
        return
