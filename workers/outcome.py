"""What driving a job's stages can come to: a decision, or a reason to give the job up for now. Pure values."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from core.jobs.job import Decision


@dataclass(frozen=True)
class HandBack:
    """The job cannot go on here now; it is due again after `delay`."""

    delay: timedelta
    count_attempt: bool
    reason: str


@dataclass(frozen=True)
class Abandon:
    """A newer claim owns the job: write nothing more."""

    reason: str


Outcome: TypeAlias = Decision | HandBack | Abandon
