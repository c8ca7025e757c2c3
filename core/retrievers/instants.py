"""Dates and times in texts, as instants that can be compared. Pure; it looks at no clock and no zone's rules."""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final, TypeAlias

Instant: TypeAlias = tuple[int, str]
"""Whole seconds since 1970 in UTC, and the digits of the fraction, no zeros at the end; compared as they are."""

_LONGEST: Final = 64
"""Characters of a date: with forty digits of a fraction it is one, beyond that it is some other text."""
_READ_AT_ONCE: Final = 10_000
"""Texts whose instants are remembered: about 3 MB when full. A filter asks for the same few again and again."""
_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))?)?", re.ASCII
)
_OTHER_MOMENT = re.compile(
    r"\d{4}(-?)\d\d\1\d\d[Tt ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?([Zz]|[+-]\d\d(:?\d\d)?)", re.ASCII
)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def instant_of(value: object) -> Instant | None:
    """When a text says it is: RFC 3339, in UTC without an offset, at midnight without a time. None for all else."""
    if not isinstance(value, str) or not has_date_form(value):
        return None
    return _read(value)


def has_date_form(value: str) -> bool:
    """Whether a text is written like a date, right or wrong: 30 February is."""
    return len(value) <= _LONGEST and value[4:5] == "-" and _FORM.fullmatch(value) is not None


def names_a_moment_otherwise(value: str) -> bool:
    """Whether a text is a time with its offset in a form of ISO 8601 that is not read: without seconds, say."""
    return len(value) <= _LONGEST and not has_date_form(value) and _OTHER_MOMENT.fullmatch(value) is not None


def utc_text(seconds: int) -> str | None:
    """Whole seconds since 1970 as a text of RFC 3339; None beyond the years that it can write."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(_READ_AT_ONCE)
def _read(text: str) -> Instant | None:
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, ahead_hours, ahead_minutes = found.groups("0")
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        return None
    if int(hour) > 23 or int(minute) > 59 or int(ahead_hours) > 23 or int(ahead_minutes) > 59:
        return None
    ahead = (int(ahead_hours) * _HOUR + int(ahead_minutes) * _MINUTE) * (-1 if sign == "-" else 1)
    start_of_minute = days * _DAY + int(hour) * _HOUR + int(minute) * _MINUTE - ahead
    if not _is_second(int(second), start_of_minute):
        return None
    # a leap second is the first one of the day after it, as clocks that have none show it
    return start_of_minute + int(second), fraction.rstrip("0")


def _is_second(second: int, start_of_minute: int) -> bool:
    """Whether a minute has this second: the last one of a day in UTC may have a sixty-first."""
    return second < 60 or (second == 60 and start_of_minute % _DAY == _DAY - _MINUTE)
