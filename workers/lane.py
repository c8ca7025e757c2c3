"""The slots of one lane: threads that take job ids from a line and drive the jobs. It knows no broker and no stage.

A doorbell only shortens the wait. What the line has no place for is forgotten, and a lane that heard none for a second,
or has forgotten some, looks for due work by itself: so jobs go on without a broker. Several workers may find the same
job; the claim lets one of them have it.
"""

import random
import threading
import time
from collections.abc import Callable

import structlog

from core.health import SlotsFacts
from core.jobs.lane import Lane
from core.storage.failures import away

_LONGEST_LINE = 64
"""Job ids that wait for a slot. The rest waits in the database, the oldest first."""
_QUIET_SECONDS = 1.0
"""So long after a doorbell or a look a lane does not look again, unless it knows that more is due."""

log = structlog.get_logger(__name__)


class LaneSlots:
    """The threads of one lane and the line in front of them."""

    def __init__(
        self,
        lane: Lane,
        slots: int,
        look: Callable[[int], list[str]],
        drive: Callable[[str], bool],
        quiet_seconds: float = _QUIET_SECONDS,
    ) -> None:
        """`look` gives at most so many ids of jobs that are due in this lane; `drive` says whether it got a job."""
        self._lane = lane
        self._look = look
        self._drive = drive
        self._quiet = quiet_seconds
        # reentrant, because a signal may stop us in the middle of a doorbell
        self._changed = threading.Condition()
        self._line: dict[str, None] = {}
        self._behind = True
        """whether more may be due than the line holds"""
        self._got_some = True
        """whether a job was got since the last look: a look that led to nothing is not repeated at once"""
        self._quiet_until = 0.0
        self._looking = self._stopping = False
        self._busy = 0
        self._took_at = time.monotonic()
        self._threads = [
            threading.Thread(target=self._work, name=f"{lane.value}-{number}", daemon=True) for number in range(slots)
        ]

    def start(self) -> None:
        """Begin to take jobs."""
        for thread in self._threads:
            thread.start()

    def hear(self, job_id: str) -> None:
        """Let a job wait for a slot; it is forgotten when too many wait already."""
        with self._changed:
            # while behind, who rang last would overtake those that were forgotten
            self._behind = self._behind or len(self._line) >= _LONGEST_LINE
            if not self._behind:
                self._line[job_id] = None
                self._quiet_until = time.monotonic() + self._quiet
            self._changed.notify()

    def stop(self) -> None:
        """Take no more jobs. Those in the line stay due."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the jobs that are being driven."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    @property
    def facts(self) -> SlotsFacts:
        """How the slots are."""
        with self._changed:
            return SlotsFacts(len(self._threads), self._busy, time.monotonic() - self._took_at)

    def _work(self) -> None:
        while (job_id := self._next()) is not None:
            got = False
            try:
                got = self._drive(job_id)
            except Exception as error:
                # the job is still due, or will be when its lease runs out
                log.exception("lane.job_left_due", job_id=job_id, backend=away(error) is not None)
            self._note_driven(got)

    def _note_driven(self, got: bool) -> None:
        with self._changed:
            self._busy -= 1
            if got:
                self._got_some = True
                self._took_at = time.monotonic()

    def _next(self) -> str | None:
        """The id of the job to try next; None at the end. It waits for one, and looks for some when it is time to."""
        while True:
            with self._changed:
                while not (self._stopping or self._line or self._may_look()):
                    self._changed.wait(self._until_look())
                if self._stopping:
                    return None
                if self._line:
                    job_id = next(iter(self._line))
                    del self._line[job_id]
                    self._busy += 1
                    return job_id
                self._looking, self._behind, self._got_some = True, False, False
                self._quiet_until = time.monotonic() + self._quiet
            self._fill()

    def _may_look(self) -> bool:
        return not self._looking and ((self._behind and self._got_some) or time.monotonic() >= self._quiet_until)

    def _until_look(self) -> float | None:
        return None if self._looking else max(self._quiet_until - time.monotonic(), 0.0)

    def _fill(self) -> None:
        """Put what is due into the line."""
        found: list[str] = []
        try:
            found = self._look(_LONGEST_LINE)
        except Exception as error:
            # the next look comes in a second; what watches the database says that it is away
            if away(error) is None:
                log.exception("lane.look_broken", lane=self._lane.value)
        # several workers that found the same begin with different ones
        random.shuffle(found)
        with self._changed:
            self._looking = False
            room = _LONGEST_LINE - len(self._line)
            self._behind = self._behind or len(found) >= room
            self._line.update(dict.fromkeys(found[:room]))
            self._changed.notify_all()
