"""How values are written for the outside: JSON, in which every time has one form. It decides nothing of what is."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import orjson


def rfc3339(moment: datetime) -> str:
    """A time as it is written everywhere: in UTC, with six digits behind the second, ending with `Z`."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def to_json(value: Any, options: int = 0, unknown: Callable[[Any], Any] | None = None) -> bytes:
    """A value as JSON. `unknown` writes what JSON has no form for; without it that is a TypeError."""

    def written(other: Any) -> Any:
        if isinstance(other, datetime):
            return rfc3339(other)
        if isinstance(other, date):
            return other.isoformat()
        if unknown is None:
            raise TypeError(f"{type(other).__name__} has no form in JSON")
        return unknown(other)

    # orjson leaves the fraction out where a time falls on a whole second
    return orjson.dumps(value, default=written, option=options | orjson.OPT_PASSTHROUGH_DATETIME)
