"""When a failed delivery is tried again. Pure: the jitter is given, not drawn."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

_JITTER = 0.2
_RETRY_AFTER_MAX = timedelta(hours=24)


def next_delay(
    schedule: Sequence[float], tries: int, jitter: float, floor: timedelta = timedelta()
) -> timedelta | None:
    """The wait after the `tries`-th try, or None when the schedule is exhausted.

    `jitter` in [-1, 1] moves the delay by up to 20 %; `floor` is what the endpoint's Retry-After asks for.
    """
    if tries > len(schedule):
        return None
    planned = timedelta(seconds=schedule[tries - 1] * (1 + _JITTER * jitter))
    return max(planned, min(floor, _RETRY_AFTER_MAX))


def retry_after(header: str | None, now: datetime) -> timedelta:
    """What a Retry-After header asks for, in seconds or as a date, a day at most; nothing when it cannot be read."""
    if not header:
        return timedelta()
    text = header.strip()
    # isdigit alone also takes digits that int() refuses
    if text.isascii() and text.isdigit():
        # longer than a day is cut anyway; fewer digits cannot overflow
        return min(timedelta(seconds=int(text[:9])), _RETRY_AFTER_MAX)
    try:
        moment = parsedate_to_datetime(text)
        return min(max(moment - now, timedelta()), _RETRY_AFTER_MAX) if moment.tzinfo else timedelta()
    except (ValueError, TypeError, OverflowError):
        return timedelta()
