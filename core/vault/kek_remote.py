"""What all calls of a key service over the network have in common: their bounds, one more try, and what failing means.

Whatever keeps a key service from its work, a refusal of ours included, is its operator's matter: it is away. A blob
that does not open (IntegrityError) is another matter, and so is a service that is merely busy.
"""

import secrets
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from core.backends.absence import absence_in_status
from core.backends.backend import Backend
from core.errors import BackendAwayError, UnavailableError
from core.vault.kek import KEY_BYTES

SECONDS = 3.0
"""How long a call may take as a whole, both tries included."""
THREADS = 32
"""Calls that may be under way at once of a service whose library bounds none as a whole."""
_AGAIN_WITHIN_SECONDS = 1.0
_PAUSE_SECONDS = 0.2
"""A call that failed within the first is made once more after the second."""
_FRESH_SECONDS = 30.0
"""An answer this young says enough: some services are paid by the question."""
_PROBED = "keystage-probe"
"""No organization."""

Answer = TypeVar("Answer")


def refusal(who: str, status: int, code: str) -> UnavailableError:
    """The error for an answer with another status than success; `code` is what the service calls it."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return UnavailableError(f"The key service ({who}) is busy.")
    absent = absence_in_status(Backend.KEY_SERVICE, status)
    return absence(who, f"refuses: {code}", silent=absent is not None and absent.silent)


def absence(who: str, did: str, *, silent: bool = False) -> BackendAwayError:
    """The error that says which service did not do what."""
    return BackendAwayError(Backend.KEY_SERVICE, f"({who}) {did}", silent=silent)


def misused(who: str) -> ValueError:
    """The error for a request that the service's library does not take: a fault of ours, and no absence. What the
    library says of it repeats the request, a data key among it, and is left out."""
    return ValueError(f"{who}: its library does not take the request that we made")


class Calls:
    """The calls of one service. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered_at = float("-inf")

    def make(self, call: Callable[[float], Answer]) -> Answer:
        """What `call` gives, which is told how many seconds it has. Raises what it raises, after another try where
        that was an absence that showed at once."""
        started = time.monotonic()
        try:
            return self._once(call, SECONDS)
        except BackendAwayError as error:
            spent = time.monotonic() - started
            if error.silent or spent > _AGAIN_WITHIN_SECONDS:
                raise
        time.sleep(_PAUSE_SECONDS)
        return self._once(call, SECONDS - (time.monotonic() - started))

    def probe(self, wrap: Callable[[bytes, str, int], object]) -> None:
        """Wrap a key that nobody will use, unless an answer came a moment ago: the one thing that everybody who uses
        the service must be allowed to do. Raises BackendAwayError; a service that is busy has answered."""
        with self._lock:
            is_fresh = time.monotonic() - self._answered_at < _FRESH_SECONDS
        if is_fresh:
            return
        try:
            wrap(secrets.token_bytes(KEY_BYTES), _PROBED, 0)
        except BackendAwayError:
            raise
        except UnavailableError:
            return

    def _once(self, call: Callable[[float], Answer], seconds: float) -> Answer:
        try:
            answer = call(seconds)
        except BackendAwayError:
            self._note(float("-inf"))
            raise
        self._note(time.monotonic())
        return answer

    def _note(self, answered_at: float) -> None:
        with self._lock:
            self._answered_at = answered_at
