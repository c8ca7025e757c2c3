"""The arithmetic of usage: whole credits and what is pending always give the milli-credits back."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.credits.prices import MILLI, pending_credits, usd, whole_credits
from core.credits.totals import Charges, Period, month_of, month_period, sum_by

amounts = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 10**9)), max_size=20)


@given(amounts)
def test_whole_and_pending_add_up_to_what_was_charged(charged: list[tuple[str, int]]) -> None:
    found = sum_by([Charges(name, None, None, amount) for name, amount in charged], lambda one: one.operation)
    total = sum(amount for _, amount in charged)
    parts = sum(found.whole.values()) * MILLI + sum(round(rest * MILLI) for rest in found.pending.values())
    assert parts == found.total == total
    assert whole_credits(total) * MILLI + round(pending_credits(total) * MILLI) == total
    assert all(0 < rest < 1 for rest in found.pending.values())


def test_sub_credit_charges_become_a_credit_together() -> None:
    found = sum_by([Charges("retriever", "ns_1", "ret_1", 100)] * 12, lambda one: one.retriever_id)
    assert (found.whole, found.pending) == ({"ret_1": 1}, {"ret_1": 0.2})


def test_the_largest_part_comes_first_and_what_has_no_name_is_left_out() -> None:
    charges = [Charges("a", "ns_1", None, 1), Charges("a", "ns_2", None, 2), Charges("a", None, None, 3)]
    assert list(sum_by(charges, lambda one: one.namespace_id).parts.items()) == [("ns_2", 2), ("ns_1", 1)]


def test_a_credit_costs_a_tenth_of_a_cent() -> None:
    assert (usd(1_000), usd(1), usd(0)) == (0.001, 0.000001, 0.0)


@pytest.mark.parametrize("days", [0.5, 7, 7.5, 30, 366])
def test_windows_cover_a_period_once(days: float) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    period = Period(start, start + timedelta(days=days))
    windows = list(period.windows(timedelta(days=7)))
    assert (windows[0].end, windows[-1].start) == (period.end, period.start)
    assert all(newer.start == older.end for newer, older in pairwise(windows))
    assert all(timedelta() < window.end - window.start <= timedelta(days=7) for window in windows)


@pytest.mark.parametrize(
    ("month", "after"), [("2026-02", "2026-03"), ("2026-12", "2027-01"), ("2028-02", "2028-03"), ("2099-12", "2100-01")]
)
def test_a_month_ends_where_the_next_one_starts(month: str, after: str) -> None:
    period = month_period(month)
    assert (month_of(period.start), month_of(period.end)) == (month, after)
    assert period.end == month_period(after).start
    assert month_of(period.end - timedelta(milliseconds=1)) == month
