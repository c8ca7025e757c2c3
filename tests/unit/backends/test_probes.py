"""What workers say of the backends that they alone reach is read once for all of them."""

import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from core.backends.backend import Backend
from core.backends.probes import BackendProbes
from core.backends.watch import BackendWatch
from core.health import Heartbeat

TOLD = (Backend.VECTORS, Backend.EMBEDDER, Backend.RAY)


class Heard:
    """The heartbeats of one worker, which come when all who ask are there."""

    def __init__(self) -> None:
        self.times = 0
        self.may_come = threading.Event()

    def fresh(self) -> list[Heartbeat]:
        self.times += 1
        assert self.may_come.wait(60)
        return [Heartbeat("worker:1", "worker", datetime.now(UTC), {"away": [Backend.VECTORS.value]})]


def test_heartbeats_are_read_once_for_all_who_ask_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, nothing, asked = Heard(), Any, list[None]()
    probes = BackendProbes(nothing, nothing, nothing, nothing, nothing, heard)  # type: ignore[arg-type]
    ask = probes._heard.ask

    def counted() -> "Future[list[Heartbeat]]":
        answer = ask()
        asked.append(None)
        if len(asked) == len(TOLD):
            heard.may_come.set()
        return answer

    monkeypatch.setattr(probes._heard, "ask", counted)
    watch = BackendWatch({backend: probes._hearsay(backend) for backend in TOLD}, patience_seconds=60)
    assert watch.look() == {Backend.VECTORS: False, Backend.EMBEDDER: True, Backend.RAY: True}
    assert heard.times == 1
    watch.look()
    assert heard.times > 1, "what was heard is not kept"


@pytest.mark.parametrize("error", [AutoReconnect(), OperationFailure("not authorized", 13)])
def test_where_mongodb_gives_no_heartbeats_nobody_can_tell(error: Exception) -> None:
    class Unheard(Heard):
        def fresh(self) -> list[Heartbeat]:
            raise error

    nothing = Any
    probes = BackendProbes(nothing, nothing, nothing, nothing, nothing, Unheard())  # type: ignore[arg-type]
    watch = BackendWatch(probes.told())
    watch.note_away(Backend.RAY)
    assert watch.look() == {Backend.VECTORS: True, Backend.EMBEDDER: True, Backend.RAY: False}
