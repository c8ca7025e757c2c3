"""The doorbell on a real broker that goes away, falls silent or is full: intake records first and rings after."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.jobs import doorbell as doorbell_module
from core.jobs.broker import connection
from core.jobs.doorbell import Doorbell
from core.jobs.lane import Lane
from tests.servers import Server, free_port, redis_server
from tests.stack import wait_until

BACK_SECONDS = 20


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """A server that neither answers nor refuses."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that have asked a broker for something, one entry for each time."""
    asked: list[str] = []

    class Noted:
        """A connection that notes who uses it."""

        def __init__(self, *arguments: object) -> None:
            self._made = connection(*arguments)  # type: ignore[arg-type]

        @property
        def default_channel(self) -> object:
            asked.append(threading.current_thread().name)
            return self._made.default_channel

        def __getattr__(self, name: str) -> object:
            return getattr(self._made, name)

    monkeypatch.setattr("core.jobs.doorbell.connection", Noted)
    return asked


def test_each_lane_has_a_queue_of_its_own(tmp_path: Path) -> None:
    with redis_server(tmp_path) as broker, closing(Doorbell(broker.url)) as doorbell:
        assert doorbell.ring(Lane.INTERACTIVE, "task_a", "ns_a")
        assert [doorbell.waiting(lane) for lane in Lane] == [1, 0]
        for _ in range(2):
            assert doorbell.ring(Lane.BATCH, "task_b", "ns_a")
        assert [doorbell.waiting(lane) for lane in Lane] == [1, 2]
        assert doorbell.waiting() == 3


def test_ringing_on_a_connection_whose_broker_died_is_answered_and_works_again_later(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port) as broker:
        doorbell = Doorbell(broker.url)
        assert doorbell.ring(Lane.BATCH, "task_a", "ns_a")
    assert doorbell.ring(Lane.BATCH, "task_b", "ns_a") is False
    assert doorbell.waiting() is None
    with redis_server(tmp_path, port):
        wait_until(lambda: doorbell.ring(Lane.BATCH, "task_c", "ns_a"), BACK_SECONDS, "a ring")
        assert doorbell.waiting() == 1
    assert doorbell.waiting() is None
    doorbell.close()


@pytest.mark.parametrize(
    "ask",
    [lambda bell: bell.ring(Lane.INTERACTIVE, "task_b", "ns_a"), lambda bell: bell.waiting()],
    ids=["ring", "count"],
)
def test_a_silent_broker_costs_one_caller_a_moment_and_the_others_nothing(
    tmp_path: Path, waits: list[str], ask: Callable[[Doorbell], object]
) -> None:
    with redis_server(tmp_path) as broker, closing(Doorbell(broker.url)) as doorbell:
        assert doorbell.ring(Lane.INTERACTIVE, "task_a", "ns_a")
        waits.clear()
        with frozen(broker):
            callers = [threading.Thread(target=ask, args=(doorbell,), name="caller") for _ in range(8)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            assert not ask(doorbell)
            wait_until(lambda: waits.count("broker-watch") > 1, BACK_SECONDS, "looks whether it is back")
            assert waits.count("caller") == 1
        wait_until(lambda: doorbell.ring(Lane.INTERACTIVE, "task_c", "ns_a"), BACK_SECONDS, "a ring")


def test_a_broker_that_is_known_to_be_away_is_not_asked(tmp_path: Path, waits: list[str]) -> None:
    away = threading.Event()
    with redis_server(tmp_path) as broker, closing(Doorbell(broker.url, is_known_away=away.is_set)) as doorbell:
        away.set()
        assert not doorbell.ring(Lane.BATCH, "task_a", "ns_a")
        assert doorbell.waiting() is None
        assert waits == []
        away.clear()
        assert doorbell.ring(Lane.BATCH, "task_a", "ns_a")


def test_each_wait_for_a_broker_is_bounded_by_half_a_second() -> None:
    assert 2 * doorbell_module._ANSWER_SECONDS <= 0.5


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_accepts_and_says_nothing_is_away(scheme: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with closing(Doorbell(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/")) as doorbell:
            assert doorbell.ring(Lane.BATCH, "task_a", "ns_a") is False
            assert doorbell.waiting() is None


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_refuses_is_not_asked_twice(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    with closing(Doorbell(f"{scheme}://127.0.0.1:{free_port()}/")) as doorbell:
        assert doorbell.ring(Lane.BATCH, "task_a", "ns_a") is False
    assert slept == []


def test_a_full_broker_takes_no_doorbell_and_is_not_away(tmp_path: Path) -> None:
    full = ["--maxmemory", "1", "--maxmemory-policy", "noeviction"]
    with redis_server(tmp_path, more_options=full) as broker, closing(Doorbell(broker.url)) as doorbell:
        assert doorbell.ring(Lane.BATCH, "task_a", "ns_a") is False
        assert doorbell.waiting() == 0
