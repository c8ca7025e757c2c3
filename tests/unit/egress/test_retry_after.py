"""How long an answer asks to wait."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.egress.retry_after import retry_after

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("120", timedelta(seconds=120)),
        (" 0.5 ", timedelta(seconds=0.5)),
        ("0", timedelta()),
        ("Mon, 23 Nov 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Mon, 23 Nov 2026 11:00:00 GMT", timedelta()),  # in the past
        ("-5", None),
        ("soon", None),
        ("9" * 400, timedelta(hours=24)),
        ("²", None),  # a digit that is no number
        ("Mon, 23 Nov 2026 12:00:30", timedelta(seconds=30)),  # without a zone
        ("Mon Nov 23 12:00:30 2026", timedelta(seconds=30)),
        ("Monday, 23-Nov-26 12:00:30 GMT", timedelta(seconds=30)),
        ("Mon, 23 Nov 2026 12:00:30 -0000", timedelta(seconds=30)),
        ("Mon, 23 Nov 2030 12:00:30 GMT", timedelta(hours=24)),
        ("Mon, 23 Nov 99999999999999999999 12:00:30 GMT", None),
        (None, None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, asked: timedelta | None) -> None:
    assert retry_after(header, NOW) == asked


@given(
    st.text()
    | st.from_regex(r"\A\d{1,30}(\.\d*)?\Z")
    | st.from_regex(r"\A\w{3}, \d{1,3} \w{3} \d{1,12} \d{1,3}:\d{1,3}:\d{1,3} [A-Z+0-9-]{0,9}\Z")
)
def test_whatever_an_endpoint_asks_for_is_between_nothing_and_a_day(header: str) -> None:
    asked = retry_after(header, NOW)
    assert asked is None or timedelta() <= asked <= timedelta(hours=24)
