"""The slots of a lane: what they take, what they leave to the database, and when they look there."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from core.jobs.lane import Lane
from tests.stack import wait_until
from workers import lane as lane_module
from workers.lane import LaneSlots

FOREVER = 3600.0
SECONDS = 20


class Jobs:
    """Due jobs, the looks for them, and the drives; a drive goes on until it may end."""

    def __init__(self, *due: str, slots: int = 2, quiet_seconds: float = FOREVER) -> None:
        self.due = list(due)
        self.looks: list[int] = []
        self.begun: list[str] = []
        self.may_end = threading.Event()
        self.may_end.set()
        self.failing: dict[str, Exception] = {}
        self.look_fails: Exception | None = None
        self.while_looking: Callable[[], None] = lambda: None
        self.slots = LaneSlots(Lane.BATCH, slots, self._look, self._drive, quiet_seconds)

    def _look(self, limit: int) -> list[str]:
        self.looks.append(limit)
        found = self.due[:limit]
        self.while_looking()
        if self.look_fails:
            raise self.look_fails
        return found

    def _drive(self, job_id: str) -> bool:
        self.begun.append(job_id)
        if job_id in self.failing:
            raise self.failing[job_id]
        got = job_id in self.due
        if got:
            # claimed: due no longer, for whoever looks
            self.due.remove(job_id)
        self.may_end.wait(SECONDS)
        return got

    @contextmanager
    def running(self) -> Iterator[None]:
        """With the slots at work."""
        self.slots.start()
        try:
            yield
        finally:
            self.may_end.set()
            self.slots.stop()
            self.slots.join()

    def wait_for_begun(self, number: int) -> None:
        """Until so many drives have begun."""
        wait_until(lambda: len(self.begun) >= number, SECONDS, f"{number} drives, of {self.begun}")

    def wait_for_looks(self, number: int) -> None:
        """Until there have been so many looks."""
        wait_until(lambda: len(self.looks) >= number, SECONDS, f"{number} looks")


def test_what_is_due_at_the_start_is_found_without_a_doorbell() -> None:
    jobs = Jobs("a", "b", "c")
    with jobs.running():
        jobs.wait_for_begun(3)
    assert sorted(jobs.begun) == ["a", "b", "c"]


def test_a_doorbell_is_answered_without_a_look() -> None:
    jobs = Jobs()
    with jobs.running():
        jobs.wait_for_looks(1)
        wait_until(lambda: not jobs.slots._behind and not jobs.slots._looking, SECONDS, "the end of the look")
        jobs.due.append("a")
        jobs.slots.hear("a")
        jobs.wait_for_begun(1)
    assert len(jobs.looks) == 1


def test_without_doorbells_the_lane_goes_on_looking() -> None:
    jobs = Jobs(quiet_seconds=0.01)
    with jobs.running():
        jobs.wait_for_looks(3)
        jobs.due.append("nobody rang")
        jobs.wait_for_begun(1)
    assert jobs.begun[0] == "nobody rang"


def test_a_lane_without_a_free_slot_does_not_look() -> None:
    jobs = Jobs("a", "b", quiet_seconds=0.001)
    jobs.may_end.clear()
    with jobs.running():
        jobs.wait_for_begun(2)
        looks = len(jobs.looks)
        jobs.due.append("c")
        assert (jobs.slots.facts.busy, jobs.slots.facts.slots) == (2, 2)
        assert jobs.begun == jobs.begun[:2]
        assert len(jobs.looks) == looks
        jobs.may_end.set()
        jobs.wait_for_begun(3)


def test_doorbells_for_the_same_job_are_joined() -> None:
    jobs = Jobs("a", slots=1)
    jobs.may_end.clear()
    with jobs.running():
        jobs.wait_for_begun(1)
        for _ in range(5):
            jobs.slots.hear("b")
        assert list(jobs.slots._line) == ["b"]
        jobs.may_end.set()
        jobs.wait_for_begun(2)
    assert jobs.begun == ["a", "b"]


def test_what_a_full_line_forgets_is_found_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "_LONGEST_LINE", 3)
    jobs = Jobs("first", slots=1)
    jobs.may_end.clear()
    with jobs.running():
        jobs.wait_for_begun(1)
        rung = [f"job {number}" for number in range(20)]
        jobs.due += rung
        for job_id in rung:
            jobs.slots.hear(job_id)
        assert len(jobs.slots._line) == 3
        jobs.may_end.set()
        jobs.wait_for_begun(21)
    # every one of them once, the oldest first but for those that were looked at together
    assert sorted(jobs.begun) == sorted(["first", *rung])
    assert jobs.begun[1:4] == rung[:3]
    assert set(jobs.looks) == {3}


def test_a_doorbell_during_a_look_is_not_lost() -> None:
    jobs = Jobs(slots=1)

    def ring() -> None:
        jobs.due.append("rung meanwhile")
        jobs.slots.hear("rung meanwhile")

    jobs.while_looking = ring
    with jobs.running():
        jobs.wait_for_begun(1)
    assert jobs.begun == ["rung meanwhile"]


def test_what_cannot_be_claimed_is_not_looked_for_over_and_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "_LONGEST_LINE", 2)
    jobs = Jobs("a", "b", slots=1)
    jobs.failing = {"a": RuntimeError(), "b": RuntimeError()}
    with jobs.running():
        jobs.wait_for_begun(2)
        # a full look means that more may be due, and it led to nothing
        wait_until(lambda: jobs.slots.facts.busy == 0, SECONDS, "the end of the drives")
        assert jobs.slots._behind
        assert not jobs.slots._may_look()
    assert len(jobs.looks) == 1


def test_doorbells_cannot_put_off_the_look_of_a_lane_that_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "_LONGEST_LINE", 1)
    slots = Jobs(quiet_seconds=FOREVER).slots
    slots.hear("x")
    assert slots._behind
    assert slots._quiet_until == 0.0


def test_a_job_that_breaks_takes_no_slot_with_it() -> None:
    jobs = Jobs("broken", slots=1)
    jobs.failing = {"broken": RuntimeError("of the driver")}
    with jobs.running():
        jobs.wait_for_begun(1)
        jobs.slots.hear("whole")
        jobs.wait_for_begun(2)
    assert jobs.begun == ["broken", "whole"]


def test_a_look_that_breaks_is_repeated() -> None:
    jobs = Jobs("a", slots=1, quiet_seconds=0.01)
    jobs.look_fails = RuntimeError("of the database")
    with jobs.running():
        jobs.wait_for_looks(2)
        jobs.look_fails = None
        jobs.wait_for_begun(1)


def test_at_the_end_the_line_is_left_and_what_runs_is_waited_for() -> None:
    jobs = Jobs("a", slots=1)
    jobs.may_end.clear()
    jobs.slots.start()
    jobs.wait_for_begun(1)
    jobs.slots.hear("in the line")
    jobs.slots.stop()
    with ThreadPoolExecutor() as pool:
        joined = pool.submit(jobs.slots.join)
        assert not joined.done()
        jobs.may_end.set()
        joined.result(SECONDS)
    assert jobs.begun == ["a"]


def test_idle_time_counts_from_the_last_job_that_was_got() -> None:
    jobs = Jobs()
    with jobs.running():
        jobs.wait_for_looks(1)
        before = jobs.slots._took_at
        jobs.slots.hear("somebody else's")
        jobs.wait_for_begun(1)
        wait_until(lambda: jobs.slots.facts.busy == 0, SECONDS, "the end of the drive")
        assert jobs.slots._took_at == before
        jobs.due.append("ours")
        jobs.slots.hear("ours")
        jobs.wait_for_begun(2)
        wait_until(lambda: jobs.slots.facts.busy == 0, SECONDS, "the end of the drive")
        assert jobs.slots._took_at > before
