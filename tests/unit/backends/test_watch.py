"""The watch: side by side, bounded, its last word remembered, each change told once."""

import copy
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pymongo.errors import AutoReconnect, OperationFailure
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from core.backends.backend import TITLES, Backend
from core.backends.watch import BackendWatch, Probe
from core.errors import BackendAwayError, KeystageError, UnavailableError, UnfitDatabaseError


def _refuses() -> None:
    raise BackendAwayError(Backend.BLOBS)


def test_one_that_raises_is_away_and_the_others_are_not() -> None:
    watch = BackendWatch({Backend.BLOBS: _refuses, Backend.REDIS: lambda: None})
    assert watch.look() == {Backend.BLOBS: False, Backend.REDIS: True}
    assert watch.away() == {Backend.BLOBS}
    assert watch.away({Backend.REDIS}) == frozenset()


def test_silent_ones_cost_one_patience_together_and_one_thread_each() -> None:
    released, asked = threading.Event(), []

    def silent() -> None:
        asked.append(threading.current_thread().name)
        released.wait(10)

    watch = BackendWatch({Backend.BLOBS: silent, Backend.RAY: silent}, patience_seconds=0.05)
    assert watch.look() == {Backend.BLOBS: False, Backend.RAY: False}
    assert watch.look() == {Backend.BLOBS: False, Backend.RAY: False}
    assert sorted(asked) == ["probe-compute", "probe-object_storage"]
    released.set()
    assert watch.look() == {Backend.BLOBS: True, Backend.RAY: True}


def test_a_change_is_told_once() -> None:
    away, changes = [True], []

    def probe() -> None:
        if away:
            _refuses()

    watch = BackendWatch({Backend.BLOBS: probe})
    watch.on_change(lambda: changes.append(watch.away()))
    with capture_logs() as logs:
        for _ in range(3):
            watch.look()
        away.clear()
        for _ in range(3):
            watch.look()
    assert [line["event"] for line in logs] == ["backend.away", "backend.back"]
    assert changes == [{Backend.BLOBS}, frozenset()]


def test_a_refusal_that_a_caller_met_counts_until_the_probe_answers() -> None:
    watch = BackendWatch({Backend.BLOBS: lambda: None})
    watch.note_away(Backend.BLOBS)
    watch.note_away(Backend.VECTORS)
    assert watch.away() == {Backend.BLOBS}
    assert watch.answers(Backend.BLOBS)
    assert watch.away() == frozenset()


def test_who_cannot_be_asked_keeps_its_last_word() -> None:
    def through_another() -> None:
        raise BackendAwayError(Backend.MONGO)

    watch = BackendWatch({Backend.VECTORS: through_another})
    assert watch.answers(Backend.VECTORS)
    watch.note_away(Backend.VECTORS)
    assert not watch.answers(Backend.VECTORS)


@pytest.mark.parametrize("fault", [KeyError("a"), TypeError("b"), UnfitDatabaseError(), KeystageError()])
@pytest.mark.parametrize("was_away", [True, False])
def test_a_fault_of_ours_is_no_absence_is_told_once_and_ends_no_asking(fault: Exception, was_away: bool) -> None:
    raised: list[Exception] = []

    def probe() -> None:
        if raised:
            raise raised[0]

    watch = BackendWatch({Backend.BLOBS: probe})
    if was_away:
        watch.note_away(Backend.BLOBS)
    with capture_logs() as logs:
        for _ in range(2):
            raised[:] = [fault]
            for _ in range(3):
                assert watch.answers(Backend.BLOBS) is not was_away, "its last word stays"
            raised[:] = [BackendAwayError(Backend.BLOBS)] if was_away else []
            assert watch.answers(Backend.BLOBS) is not was_away
    assert [(line["event"], line["exc_info"]) for line in logs] == [("backend.probe_broken", fault)] * 2


@pytest.mark.parametrize("error", [UnavailableError(), AutoReconnect(), OperationFailure("no", 18), RedisError()])
def test_what_an_adapter_or_a_driver_says_is_an_absence(error: Exception) -> None:
    def probe() -> None:
        raise error

    assert not BackendWatch({Backend.MONGO: probe}).answers(Backend.MONGO)


def test_who_is_told_of_a_change_and_fails_ends_no_asking() -> None:
    asked: list[None] = []

    def fails() -> None:
        raise RuntimeError("nobody listens")

    def probe() -> None:
        asked.append(None)
        if len(asked) == 1:
            _refuses()

    watch = BackendWatch({Backend.BLOBS: probe})
    watch.on_change(fails)
    with capture_logs() as logs:
        assert not watch.answers(Backend.BLOBS)
        assert watch.answers(Backend.BLOBS)
    assert [line["event"] for line in logs].count("backend.change_not_told") == 2, "it is said, and ends nothing"


def test_a_thread_that_could_not_be_had_ends_no_asking() -> None:
    watch = BackendWatch({Backend.BLOBS: lambda: None}, interval_seconds=0.01)
    start, refused = threading.Thread.start, threading.Event()

    def start_none(thread: threading.Thread) -> None:
        if thread.name.startswith("probe-"):
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    with pytest.MonkeyPatch.context() as patch, capture_logs():
        patch.setattr(threading.Thread, "start", start_none)
        watch.start()
        assert refused.wait(10)
        watch.note_away(Backend.BLOBS)
    give_up_at = time.monotonic() + 10
    while watch.away() and time.monotonic() < give_up_at:
        time.sleep(0.01)
    watch.close()
    assert not watch.away()


@pytest.mark.parametrize("silent", [True, False])
def test_the_error_survives_the_way_between_processes(silent: bool) -> None:
    error = BackendAwayError(Backend.VECTORS, "refused the connection", silent=silent)
    back = copy.copy(error)
    assert (back.backend, back.silent, back.message, back.details) == (
        Backend.VECTORS,
        silent,
        "The vector store refused the connection.",
        {"backend": "vector_store"},
    )


def test_each_backend_has_a_title() -> None:
    assert set(TITLES) == set(Backend)


@pytest.fixture
def started() -> Iterator[tuple[BackendWatch, set[Backend]]]:
    """A watch that looks all the time, and the backends that are away."""
    absent: set[Backend] = set()

    def probe(backend: Backend) -> Probe:
        def ask() -> None:
            if backend in absent:
                raise BackendAwayError(backend)

        return ask

    watch = BackendWatch({each: probe(each) for each in (Backend.BLOBS, Backend.RAY)}, interval_seconds=600)
    watch.start()
    yield watch, absent
    watch.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def found_away(watch: BackendWatch, backend: Backend) -> bool:
    # a question that was under way may still bring the answer of before
    watch.doubt(backend)
    return backend in watch.away()


def test_what_is_needed_and_known_away_is_refused_by_name(started: tuple[BackendWatch, set[Backend]]) -> None:
    watch, absent = started
    watch.require(Backend.BLOBS, Backend.RAY)
    absent.add(Backend.BLOBS)
    until(lambda: found_away(watch, Backend.BLOBS))
    watch.require(Backend.RAY)
    with pytest.raises(BackendAwayError) as refused:
        watch.require(Backend.BLOBS, Backend.RAY)
    assert refused.value.backend is Backend.BLOBS


def test_one_that_is_away_is_soon_known_to_be_back(started: tuple[BackendWatch, set[Backend]]) -> None:
    watch, absent = started
    absent.add(Backend.RAY)
    until(lambda: found_away(watch, Backend.RAY))
    absent.clear()
    # long before the next round
    until(lambda: not watch.away())


def test_a_failure_that_the_probe_does_not_confirm_changes_nothing(started: tuple[BackendWatch, set[Backend]]) -> None:
    watch, _ = started
    with capture_logs() as logs:
        watch.doubt(Backend.BLOBS)
        assert watch.answers(Backend.BLOBS)
    assert logs == []


def test_a_watch_that_was_not_started_refuses_nothing_and_asks_nobody() -> None:
    asked: list[int] = []
    watch = BackendWatch({Backend.BLOBS: lambda: asked.append(1)})
    watch.note_away(Backend.BLOBS)
    watch.require(Backend.BLOBS)
    watch.doubt(Backend.BLOBS)
    assert asked == []


def test_it_tells_how_long_an_answer_took() -> None:
    released = threading.Event()
    watch = BackendWatch({Backend.BLOBS: lambda: released.wait(10)}, patience_seconds=0.05)
    watch.look()
    assert watch.seconds(Backend.BLOBS) == 0.05
    released.set()
    watch.look()
    assert watch.seconds(Backend.BLOBS) > 0.05
