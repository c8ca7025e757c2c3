"""When a delivery is tried again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.webhooks.schedule import next_delay, retry_after

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def test_the_schedule_is_walked_and_then_exhausted() -> None:
    delays = [next_delay([5, 60], tries, jitter=0) for tries in (1, 2, 3)]
    assert delays == [timedelta(seconds=5), timedelta(seconds=60), None]


def test_jitter_moves_a_delay_by_a_fifth() -> None:
    assert next_delay([10], 1, jitter=1) == timedelta(seconds=12)
    assert next_delay([10], 1, jitter=-1) == timedelta(seconds=8)


def test_retry_after_is_a_floor_of_at_most_a_day() -> None:
    assert next_delay([5], 1, jitter=0, floor=timedelta(hours=1)) == timedelta(hours=1)
    assert next_delay([5], 1, jitter=0, floor=timedelta(days=9)) == timedelta(hours=24)


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("120", timedelta(seconds=120)),
        ("Mon, 23 Nov 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Mon, 23 Nov 2026 11:00:00 GMT", timedelta()),  # in the past
        ("-5", timedelta()),
        ("soon", timedelta()),
        ("9" * 40, timedelta(hours=24)),
        ("²", timedelta()),  # a digit that is no number
        ("Mon, 23 Nov 2026 12:00:30", timedelta()),  # without a zone
        ("Mon, 23 Nov 2030 12:00:30 GMT", timedelta(hours=24)),
        ("Mon, 23 Nov 99999999999999999999 12:00:30 GMT", timedelta()),
        (None, timedelta()),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, asked: timedelta) -> None:
    assert retry_after(header, NOW) == asked


@given(st.text() | st.from_regex(r"\A\w{3}, \d{1,3} \w{3} \d{1,12} \d{1,3}:\d{1,3}:\d{1,3} [A-Z+0-9-]{0,9}\Z"))
def test_whatever_an_endpoint_asks_for_is_between_nothing_and_a_day(header: str) -> None:
    assert timedelta() <= retry_after(header, NOW) <= timedelta(hours=24)
