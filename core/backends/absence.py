"""Tells by what an HTTP request came to whether a backend is away. It makes no request, and decides nothing else.

Away is one that refuses a connection, breaks one off, stays silent, or says itself (or the proxy before it) that it
is not there. Any other answer, a refusal among them, is one.
"""

from http import HTTPStatus

import httpx2

from core.backends.backend import Backend
from core.errors import BackendAwayError

CONNECT_SECONDS = 2.0
"""How long a look-up and a connection to a backend may take: a lost packet is sent again after one."""
_WAITED_IN_VAIN = frozenset({HTTPStatus.GATEWAY_TIMEOUT, 524})
_AWAY_STATUSES = _WAITED_IN_VAIN | {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, 520, 521, 522, 523}
"""Those from 520 on are a widespread proxy's, of the server behind it."""


def absence_in_error(backend: Backend, error: BaseException | None) -> BackendAwayError | None:
    """What an error of the HTTP client says of the backend; None when it does not say that it is away."""
    match error:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout() | httpx2.ConnectError():
            # it was not asked, so nothing that it was asked for is at fault
            return BackendAwayError(backend, "cannot be reached")
        case httpx2.TimeoutException():
            return BackendAwayError(backend, "does not answer in time", silent=True)
        case httpx2.NetworkError() | httpx2.RemoteProtocolError():
            return BackendAwayError(backend, "broke off its answer")
    return None


def absence_in_status(backend: Backend, status: int) -> BackendAwayError | None:
    """What the status of an answer says of the backend; None when it does not say that it is away."""
    if status not in _AWAY_STATUSES:
        return None
    # a gateway that waited in vain met one that took the call and said nothing
    return BackendAwayError(backend, f"is not ready (HTTP {status})", silent=status in _WAITED_IN_VAIN)
