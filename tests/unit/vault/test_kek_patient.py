"""A data key that its service fails to open: others are opened meanwhile, and it is told once."""

import threading
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from core.backends.backend import Backend
from core.backends.watch import BackendWatch
from core.errors import BackendAwayError, IntegrityError, UnavailableError
from core.vault.kek import Wrapped
from core.vault.kek_patient import PatientKeyEncryption

KEY = bytes(32)
WRAPPED = Wrapped("transit:old:v1", b"")


class Service:
    """Opens every organization's key, but for those that it is told to fail."""

    provider = "transit"

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.held: threading.Semaphore | None = None
        """calls take one of these first"""

    def current_kek_id(self) -> str:
        return "transit:new:v2"

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        return Wrapped("transit:new:v2", key)

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        self.asked.append(internal_id)
        if held := self.held:
            assert held.acquire(timeout=60)
        if error := self.errors.get(internal_id):
            raise error
        return KEY

    def probe(self) -> None:
        if error := self.errors.get("probe"):
            raise error


class Place:
    """The service, what is patient with it, its watch and the time."""

    def __init__(self) -> None:
        self.moment = 0.0
        self.service = Service()
        self.watch = BackendWatch({Backend.KEY_SERVICE: self.service.probe}, interval_seconds=600)
        self.keys = PatientKeyEncryption(self.service, self.watch, lambda: self.moment)

    def opens(self, organization: str) -> bool:
        try:
            return self.keys.unwrap(WRAPPED, organization, 1) == KEY
        except UnavailableError:
            return False


@pytest.fixture
def place() -> Iterator[Place]:
    there = Place()
    there.watch.start()
    yield there
    there.watch.close()


def test_a_key_that_fails_is_left_alone_for_a_second_and_others_are_opened(place: Place) -> None:
    place.service.errors["int_1"] = BackendAwayError(Backend.KEY_SERVICE, "refuses")
    assert not place.opens("int_1")
    assert place.opens("int_2")
    assert not place.opens("int_1")
    assert place.service.asked == ["int_1", "int_2"]
    place.moment += 1
    assert not place.opens("int_1")
    assert place.service.asked.count("int_1") == 2
    del place.service.errors["int_1"]
    place.moment += 1
    assert [place.opens("int_1") for _ in range(2)] == [True, True]


def test_a_key_that_fails_is_a_doubt_and_no_absence_of_the_service(place: Place) -> None:
    place.service.errors["int_1"] = BackendAwayError(Backend.KEY_SERVICE, "refuses")
    for _ in range(3):
        assert not place.opens("int_1")
        assert place.watch.away() == frozenset()
        assert place.watch.answers(Backend.KEY_SERVICE)
        place.moment += 1


def test_it_is_told_once_and_once_that_it_opens_again(place: Place) -> None:
    place.service.errors["int_1"] = BackendAwayError(Backend.KEY_SERVICE, "refuses")
    with capture_logs() as logs:
        for _ in range(5):
            assert not place.opens("int_1")
            place.moment += 1
        del place.service.errors["int_1"]
        assert [place.opens("int_1") for _ in range(3)] == [True] * 3
    assert [(line["event"], line["kek"]) for line in logs] == [
        ("vault.data_key_fails", "transit:old:v1"),
        ("vault.data_key_answers", "transit:old:v1"),
    ]
    assert logs[0]["why"] == "The key service refuses."


def asked_by(place: Place, *organizations: str) -> list[threading.Thread]:
    """Threads that wait for the service's answer, which is held back."""
    place.service.held, place.service.asked = threading.Semaphore(0), []
    threads = [threading.Thread(target=place.opens, args=(each,)) for each in organizations]
    for thread in threads:
        thread.start()
    return threads


def answer(place: Place, threads: list[threading.Thread]) -> None:
    """Let them have it."""
    held, place.service.held = place.service.held, None
    assert held
    held.release(len(threads))
    for thread in threads:
        thread.join()


def until_asked(place: Place, times: int) -> None:
    """Wait until so many calls have reached the service."""
    for _ in range(6000):
        if len(place.service.asked) >= times:
            return
        time.sleep(0.01)
    raise TimeoutError


def test_first_failures_that_come_at_once_are_not_told_for_nobody_knows_what_they_mean(place: Place) -> None:
    place.service.errors["int_1"] = BackendAwayError(Backend.KEY_SERVICE, "refuses")
    with capture_logs() as logs:
        threads = asked_by(place, *["int_1"] * 4)
        until_asked(place, 4)
        answer(place, threads)
    assert logs == []


def test_a_key_that_failed_is_asked_for_by_one_caller_however_long_that_takes(place: Place) -> None:
    place.service.errors["int_1"] = BackendAwayError(Backend.KEY_SERVICE, silent=True)
    place.opens("int_1")
    place.moment += 1
    threads = asked_by(place, "int_1")
    until_asked(place, 1)
    place.moment += 60
    assert not place.opens("int_1")
    assert place.service.asked == ["int_1"]
    answer(place, threads)


def test_what_the_watch_tells_of_the_whole_service_is_not_told_of_each_key(place: Place) -> None:
    absence = BackendAwayError(Backend.KEY_SERVICE)
    place.service.errors = dict.fromkeys(("int_1", "int_2", "probe"), absence)
    with capture_logs() as logs:
        for organization in ("int_1", "int_2"):
            assert not place.opens(organization)
        assert not place.watch.answers(Backend.KEY_SERVICE)
        place.moment += 1
        for organization in ("int_1", "int_2"):
            assert not place.opens(organization)
    assert [line["event"] for line in logs] == ["backend.away"]


def test_keys_that_failed_before_hold_two_threads_of_a_silent_service_and_others_all_they_need(place: Place) -> None:
    failing = [f"int_{number}" for number in range(5)]
    place.service.errors = dict.fromkeys(failing, BackendAwayError(Backend.KEY_SERVICE, silent=True))
    for organization in failing:
        place.opens(organization)
    place.moment += 1
    threads = asked_by(place, *failing, "int_a", "int_b", "int_c")
    until_asked(place, 5)
    # the three that are refused a turn end by themselves
    for _ in range(600):
        if sum(thread.is_alive() for thread in threads) == 5:
            break
        threads[0].join(0.1)
    asked = list(place.service.asked)
    answer(place, threads)
    assert len([each for each in asked if each in failing]) == 2
    assert {"int_a", "int_b", "int_c"} <= set(asked)


@pytest.mark.parametrize("error", [IntegrityError(), KeyError("a fault of ours")])
def test_what_is_no_absence_of_the_service_comes_through_and_gives_the_turn_back(
    place: Place, error: Exception
) -> None:
    place.service.errors["int_1"] = BackendAwayError(Backend.KEY_SERVICE)
    place.opens("int_1")
    place.service.errors["int_1"] = error
    for _ in range(3):
        place.moment += 1
        with pytest.raises(type(error)):
            place.keys.unwrap(WRAPPED, "int_1", 1)


def test_a_key_that_nobody_asked_for_again_is_forgotten_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.vault.kek_patient._KEPT_AT_MOST", 2)
    for organization in ("int_1", "int_2", "int_3"):
        place.service.errors[organization] = BackendAwayError(Backend.KEY_SERVICE)
        place.opens(organization)
    place.service.asked.clear()
    for organization in ("int_2", "int_3", "int_1"):
        place.opens(organization)
    assert place.service.asked == ["int_1"]
