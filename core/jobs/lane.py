"""The two lanes: jobs that somebody waits for, and jobs that may take their time. Pure.

Each has a queue of doorbells and worker threads of its own, so that however many of the one sort run, one of the other
never waits for them.
"""

from enum import StrEnum
from typing import Final

from core.jobs.job import JobKind


class Lane(StrEnum):
    """A class of jobs with a queue and slots of its own."""

    INTERACTIVE = "interactive"
    """executions of retrievers: somebody waits for the answer"""
    BATCH = "batch"
    """all others: they take as long as what they were given is long"""

    @property
    def queue_name(self) -> str:
        """The queue of its doorbells."""
        return f"keystage.{self.value}"

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        """What its slots run."""
        return tuple(kind for kind in JobKind if lane_of(kind) is self)


LANE_BY_QUEUE: Final = {lane.queue_name: lane for lane in Lane}
"""Whose doorbells a queue holds."""


def lane_of(kind: JobKind) -> Lane:
    """The lane in which a job of this kind runs."""
    return Lane.INTERACTIVE if kind is JobKind.RETRIEVER else Lane.BATCH
