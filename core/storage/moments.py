"""Moments on the database's own clock, written in the one form that every server we run on knows."""

from datetime import timedelta
from typing import Any, Final

NOW: Final = "$$NOW"
"""The database's time, in an update that is a pipeline."""


def from_now(delay: timedelta) -> dict[str, Any]:
    """The moment `delay` after the database's present one, in whole milliseconds, in an update that is a pipeline."""
    # a sum of NOW and a number is unknown to one engine: docs/databases.md
    return {"$dateAdd": {"startDate": NOW, "unit": "millisecond", "amount": delay // timedelta(milliseconds=1)}}
