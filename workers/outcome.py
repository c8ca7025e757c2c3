"""What driving a job's stages can come to: a decision, or a reason to give the job up for now. Pure values."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from core.backends.backend import Backend
from core.jobs.job import Decision


@dataclass(frozen=True)
class HandBack:
    """The job cannot go on here now; it is due again after `delay`."""

    delay: timedelta
    count_attempt: bool
    reason: str
    spent: int | None = None
    """milli-credits that the try spent on models; None when nobody knows"""


@dataclass(frozen=True)
class Wait:
    """A backend that the job needs is away, or refuses it; it is due again after `delay`, and no attempt is counted."""

    backend: Backend
    delay: timedelta
    spent: int | None = None
    """milli-credits that the try spent on models; None when there was no try"""
    refused: bool = False
    """whether the backend answers its own probe"""


@dataclass(frozen=True)
class Abandon:
    """A newer claim owns the job: write nothing more."""

    reason: str


Outcome: TypeAlias = Decision | HandBack | Wait | Abandon
