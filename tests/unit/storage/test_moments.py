"""Delays on the database's clock: whole milliseconds, in the one form that every engine knows."""

from datetime import timedelta
from pathlib import Path

import pytest

from core.storage.moments import NOW, from_now


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [
        (timedelta(seconds=20), 20_000),
        (timedelta(milliseconds=1.9), 1),
        # thirty days, the longest delay between attempts: more than 32 bits hold
        (timedelta(days=30), 2_592_000_000),
        # as a float of seconds it is 1.0009999999
        (timedelta(seconds=1.001), 1001),
        (timedelta(), 0),
    ],
)
def test_a_delay_is_whole_milliseconds_after_now(delay: timedelta, milliseconds: int) -> None:
    assert from_now(delay) == {"$dateAdd": {"startDate": NOW, "unit": "millisecond", "amount": milliseconds}}


def test_nobody_else_writes_moments_of_the_database() -> None:
    """A sum of NOW and a number, as in {"$add": ["$$NOW", 5]}, is unknown to one engine: every claim would fail."""
    core = Path(__file__).parents[3] / "core"
    writers = [str(path.relative_to(core)) for path in core.rglob("*.py") if "$$NOW" in path.read_text()]
    assert writers == ["storage/moments.py"]
