"""What an answer's Retry-After header asks for. Pure: whoever asks says what time it is, and whether to obey."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(hours=24)
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """The wait in seconds or up to a date (RFC 9110, 10.2.3), a day at most; None when there is nothing to read.

    Fractions of a second, which some providers send, are read too.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=min(float(text), LONGEST.total_seconds()))
    try:
        moment = parsedate_to_datetime(text)
        # the oldest of the three forms of a date names no zone: all of HTTP's are in UTC
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(max(aware - now, timedelta()), LONGEST)
    except (ValueError, TypeError, OverflowError):
        return None
