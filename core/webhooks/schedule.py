"""When a failed delivery is tried again. Pure: the jitter is given, not drawn."""

from collections.abc import Sequence
from datetime import timedelta

_JITTER = 0.2


def next_delay(
    schedule: Sequence[float], tries: int, jitter: float, floor: timedelta = timedelta()
) -> timedelta | None:
    """The wait after the `tries`-th try, or None when the schedule is exhausted.

    `jitter` in [-1, 1] moves the delay by up to 20 %; `floor` is what the endpoint's Retry-After asks for.
    """
    if tries > len(schedule):
        return None
    planned = timedelta(seconds=schedule[tries - 1] * (1 + _JITTER * jitter))
    return max(planned, floor)
