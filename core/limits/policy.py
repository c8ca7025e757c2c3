"""The words of a limit: route classes, policies, and the three answers. Pure; counts nothing and reads no clock."""

import re
from dataclasses import dataclass
from enum import StrEnum

from core.errors import TooManyRequestsError, UnavailableError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


class RateClass(StrEnum):
    """The published categories of routes."""

    METADATA = "metadata"
    DATA = "data"
    SEARCH = "search"
    UPLOAD = "upload"
    COMPUTE = "compute"


@dataclass(frozen=True)
class Policy:
    """So many requests in so many seconds, of which a burst may come at once; one request counts `cost`.

    A window of 0 seconds makes it a cap on what is under way at the same time.
    """

    name: str
    quota: int
    window_seconds: int
    burst: int
    cost: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a policy's name stands in a header: {self.name!r}")
        if self.quota < 1 or self.window_seconds < 0 or not 1 <= self.cost <= self.burst:
            raise ValueError(f"no request could ever pass, or all would: {self!r}")

    @property
    def interval_us(self) -> int:
        """Microseconds that pay for one unit of cost, rounded up: never more than the quota."""
        return -(-self.window_seconds * 1_000_000 // self.quota)

    @property
    def window(self) -> str:
        """The window as people write it: `1m`; `concurrent` for a cap on what is under way."""
        if self.window_seconds == 0:
            return "concurrent"
        for seconds, unit in _UNITS:
            if self.window_seconds % seconds == 0:
                return f"{self.window_seconds // seconds}{unit}"
        return f"{self.window_seconds}s"


@dataclass(frozen=True)
class Lease:
    """One place among what an organization may have under way; it ends by itself when its holder dies."""

    internal_id: str
    lease_id: str


@dataclass(frozen=True)
class Admitted:
    """The request may go on. `policy` is the one with the least left."""

    policy: Policy
    remaining: int
    reset_seconds: int
    """seconds until more of the quota is there, rounded up"""
    lease: Lease | None


@dataclass(frozen=True)
class Refused:
    """The request is over a limit, and has used up nothing. `policy` is the one that needs the longest wait."""

    policy: Policy
    remaining: int
    reset_seconds: int
    retry_after_seconds: int
    """whole seconds, at least 1, after which the same request is admitted if nobody else asked meanwhile"""

    def as_error(self) -> TooManyRequestsError:
        """The same for the caller, with every key that published clients read."""
        return TooManyRequestsError(
            limit=self.policy.quota,
            window=self.policy.window,
            retry_after=self.retry_after_seconds,
            retry_after_seconds=self.retry_after_seconds,
            retryable=True,
            policy=self.policy.name,
        )


@dataclass(frozen=True)
class Unavailable:
    """Nobody can count this kind of request now, so it is not let through."""

    retry_after_seconds: int

    def as_error(self) -> UnavailableError:
        """The same for the caller."""
        return UnavailableError(retry_after_seconds=self.retry_after_seconds)


Verdict = Admitted | Refused | Unavailable
