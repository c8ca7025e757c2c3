"""A question to whoever counts, and its answer, in microseconds. Pure; the same for Redis and for one process."""

from dataclasses import dataclass

from core.limits.policy import Policy

LONGEST_LEASE_SECONDS = 900.0
"""No lease lasts longer, so one that seems to was written before the clock was set back."""


@dataclass(frozen=True)
class Ask:
    """One rate of the question: where its state is kept, and what it allows."""

    key: str
    policy: Policy


@dataclass(frozen=True)
class LeaseAsk:
    """The part of the question about work under way."""

    key: str
    lease_id: str
    policy: Policy
    seconds: float

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= LONGEST_LEASE_SECONDS:
            raise ValueError(f"a lease lasts up to {LONGEST_LEASE_SECONDS:.0f} s, not {self.seconds}")

    @property
    def lasts_us(self) -> int:
        """How long the lease holds without its holder."""
        return int(self.seconds * 1_000_000)


@dataclass(frozen=True)
class Decision:
    """The answer: admitted when nothing has to be waited for."""

    binding: int
    """position of the tightest policy in the question; the lease comes last"""
    remaining: int
    reset_us: int
    wait_us: int
