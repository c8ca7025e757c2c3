"""Asks whether Ray answers, in bounded time: its head by a question, and the node of this process by a connection.

A frozen process still takes connections, so the head has to say something. It never starts or restarts anything.
"""

import socket
from dataclasses import dataclass
from typing import Any

from config.beside import Shared
from core.backends.backend import Backend
from core.backends.watch import PATIENCE_SECONDS
from core.errors import BackendAwayError

_ANSWER_SECONDS = 1.2


@dataclass(frozen=True)
class RaySession:
    """Which Ray somebody is connected to: a restarted one has another name, and handles of the one before are void."""

    name: bytes
    node_id: str
    """of the node that this process is attached to"""
    node_address: tuple[str, int]


class RayProbe:
    """Questions to one Ray head; at most one is under way. Safe to use from several threads."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.session: RaySession | None = None
        """what this process is attached to, once it is: its node is asked after too"""
        self._client: Any = None
        self._question = Shared(self._ask, "ray-probe")

    def session_name(self) -> bytes:
        """The name of the Ray session that answers now. Raises BackendAwayError."""
        try:
            return self._question.ask().result(timeout=PATIENCE_SECONDS)
        except TimeoutError:
            raise BackendAwayError(Backend.RAY, f"at {self._address} does not answer", silent=True) from None

    def still(self, session: RaySession) -> None:
        """Raise BackendAwayError unless this very session answers."""
        if self.session_name() != session.name:
            raise BackendAwayError(Backend.RAY, "was restarted")

    def listens(self) -> None:
        """Raise BackendAwayError when nothing takes a connection at Ray's address."""
        host, _, port = self._address.rpartition(":")
        _connect((host, int(port)), f"at {self._address}")

    def _ask(self) -> bytes:
        self.listens()
        from ray.exceptions import RayError

        try:
            return self._answer()
        except (RayError, ConnectionError) as error:
            silent = "deadline" in str(error).lower()
            if silent or self._client is None:
                what = f"at {self._address} does not answer: {type(error).__name__}"
                raise BackendAwayError(Backend.RAY, what, silent=silent) from error
        # a head that was restarted refuses the connection that was made to the one before
        self._client = None
        return self._ask()

    def _answer(self) -> bytes:
        from ray import NodeID
        from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled

        session, client = self.session, self._client or GcsClient(address=self._address)
        name: bytes = client.internal_kv_get(b"session_name", b"session", timeout=_ANSWER_SECONDS)
        self._client = client
        if session is None or name != session.name:
            return name
        [node_lives] = client.check_alive([NodeID.from_hex(session.node_id)], timeout=_ANSWER_SECONDS)
        if not node_lives:
            raise BackendAwayError(Backend.RAY, "took this node for dead")
        _connect(session.node_address, "on this node")
        return name


def _connect(address: tuple[str, int], where: str) -> None:
    try:
        socket.create_connection(address, PATIENCE_SECONDS).close()
    except OSError as error:
        silent = isinstance(error, TimeoutError)
        raise BackendAwayError(Backend.RAY, f"{where} does not answer", silent=silent) from error
