"""Sums of what was charged on the wire. Whole credits in integers, what they leave in `pending_*`."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import StringConstraints

from api.schemas.fields import Answer, Moment, Query, View
from core.credits.entry import Balance
from core.credits.prices import CREDIT_USD, pending_credits, usd, whole_credits
from core.credits.totals import Charges, Period, Sum, month_of, sum_by
from core.errors import FieldProblem, ValidationFailedError

MAX_PERIOD = timedelta(days=366)
_USUAL_PERIOD = timedelta(days=30)
_EARLIEST_YEAR = 2000

BillingMonth = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
"""YYYY-MM, in UTC."""


class SummaryQuery(Query):
    """GET /v1/analytics/usage/summary: the last 30 days when nothing is given, 366 days at most."""

    start_date: Moment | None = None
    end_date: Moment | None = None


class UsageQuery(Query):
    """GET /v1/organizations/usage: the last 30 days when nothing is given, 366 days at most."""

    start: Moment | None = None
    end: Moment | None = None


class MonthQuery(Query):
    """GET /v1/organizations/billing/usage/breakdown"""

    billing_month: BillingMonth | None = None
    """The current one when it is not given."""


def period_of(start: datetime | None, end: datetime | None, now: datetime, names: tuple[str, str]) -> Period:
    """The period that is asked for, up to now at most. Raises ValidationFailedError, which names the bad one."""
    # a capture of this very moment belongs to it
    until = min(end, now) if end else now + timedelta(milliseconds=1)
    if until.year < _EARLIEST_YEAR:
        raise ValidationFailedError([FieldProblem((names[1],), f"must be in the year {_EARLIEST_YEAR} or later")])
    first = start or until - _USUAL_PERIOD
    if first >= until:
        raise ValidationFailedError([FieldProblem((names[0],), "must be before the end, and not in the future")])
    if until - first > MAX_PERIOD:
        raise ValidationFailedError(
            [FieldProblem((names[0],), f"must be at most {MAX_PERIOD.days} days before the end")]
        )
    return Period(first, until)


class UsageRowView(View):
    """What one kind of operation cost."""

    operation_type: str
    """The operation; `unattributed` where the ledger does not say."""
    credits: int
    """Whole credits."""
    pending_credits: float
    """The rest below one credit."""
    cost_usd: float
    """What all of it costs."""


class SummaryView(Answer):
    """What a namespace was charged in a period."""

    usage: list[UsageRowView]
    """One row for each kind of operation, the largest first."""
    total_credits: int
    """Whole credits of all rows together."""
    pending_credits: float
    """The rest below one credit."""
    total_cost: float
    """In US dollars."""
    namespace_id: str
    """The namespace."""
    start_date: datetime
    """Where the period starts."""
    end_date: datetime
    """Where it ends; this moment is outside."""


class CreditsView(View):
    """An organization's credits. `used` and `remaining` add up to `total`, each with what is pending of it."""

    total: int
    """What was used in the period and what is left now."""
    used: int
    """What was charged in the period."""
    remaining: int
    """What is not charged yet; what running jobs hold is in it."""
    pending_total: float
    """The rest of it below one credit."""
    pending_used: float
    """The rest of it below one credit."""
    pending_remaining: float
    """The rest of it below one credit."""
    reset_date: None
    """Credits do not lapse."""


class OrganizationUsageView(Answer):
    """What an organization was charged in a period, and what is left."""

    credits: CreditsView
    """In all."""
    breakdown: dict[str, int]
    """Whole credits by operation."""
    pending_breakdown: dict[str, float]
    """What that leaves below one credit."""
    start: datetime
    """Where the period starts."""
    end: datetime
    """Where it ends; this moment is outside."""


class CurrentUsageView(Answer):
    """The published CurrentUsageResponse."""

    current_month_usage: int
    """Whole credits."""
    pending_month_usage: float
    """The rest below one credit."""
    billing_month: str
    """YYYY-MM"""
    billing_period_start: datetime
    """The first moment of the month, in UTC."""
    billing_period_end: datetime
    """The first moment of the next one."""
    estimated_cost_usd: float
    """What it costs."""
    credit_rate: float
    """US dollars for one credit."""
    auto_billing_enabled: bool
    """Never: this installation sends no bills."""
    next_invoice_date: datetime
    """When the month's usage is complete."""


class BreakdownView(Answer):
    """The published UsageBreakdownResponse. Each `by_*` has its rest below one credit in its `pending_by_*`."""

    billing_month: str
    """YYYY-MM"""
    total_credits: int
    """Whole credits of all operations together."""
    pending_credits: float
    """The rest below one credit."""
    total_cost_usd: float
    """What it costs."""
    by_operation: dict[str, int]
    """Whole credits by kind of operation."""
    pending_by_operation: dict[str, float]
    """The rest below one credit."""
    by_extractor: dict[str, int]
    """Empty: a batch is charged as a whole."""
    by_namespace: dict[str, int]
    """Whole credits by namespace."""
    pending_by_namespace: dict[str, float]
    """The rest below one credit."""
    by_retriever: dict[str, int]
    """Whole credits by retriever."""
    pending_by_retriever: dict[str, float]
    """The rest below one credit."""
    period_start: datetime
    """The first moment of the month, in UTC."""
    period_end: datetime
    """The first moment of the next one."""


def show_summary(charges: list[Charges], namespace_id: str, period: Period) -> SummaryView:
    """What a namespace was charged."""
    spent = _by_operation(charges)
    rows = [
        UsageRowView(
            operation_type=operation,
            credits=whole_credits(amount),
            pending_credits=pending_credits(amount),
            cost_usd=usd(amount),
        )
        for operation, amount in spent.parts.items()
    ]
    return SummaryView(
        usage=rows,
        total_credits=whole_credits(spent.total),
        pending_credits=pending_credits(spent.total),
        total_cost=usd(spent.total),
        namespace_id=namespace_id,
        start_date=period.start,
        end_date=period.end,
    )


def show_usage(charges: list[Charges], balance: Balance, period: Period) -> OrganizationUsageView:
    """What an organization was charged, and what is left."""
    spent = _by_operation(charges)
    total = spent.total + balance.posted
    credits = CreditsView(
        total=whole_credits(total),
        used=whole_credits(spent.total),
        remaining=whole_credits(balance.posted),
        pending_total=pending_credits(total),
        pending_used=pending_credits(spent.total),
        pending_remaining=pending_credits(balance.posted),
        reset_date=None,
    )
    return OrganizationUsageView(
        credits=credits,
        breakdown=spent.whole,
        pending_breakdown=spent.pending,
        start=period.start,
        end=period.end,
    )


def show_current(charges: list[Charges], month: Period) -> CurrentUsageView:
    """What a month has cost so far."""
    amount = _by_operation(charges).total
    return CurrentUsageView(
        current_month_usage=whole_credits(amount),
        pending_month_usage=pending_credits(amount),
        billing_month=month_of(month.start),
        billing_period_start=month.start,
        billing_period_end=month.end,
        estimated_cost_usd=usd(amount),
        credit_rate=CREDIT_USD,
        auto_billing_enabled=False,
        next_invoice_date=month.end,
    )


def show_breakdown(charges: list[Charges], month: Period) -> BreakdownView:
    """What a month's charges were for."""
    operations = _by_operation(charges)
    namespaces = sum_by(charges, lambda charge: charge.namespace_id)
    retrievers = sum_by(charges, lambda charge: charge.retriever_id)
    return BreakdownView(
        billing_month=month_of(month.start),
        total_credits=whole_credits(operations.total),
        pending_credits=pending_credits(operations.total),
        total_cost_usd=usd(operations.total),
        by_operation=operations.whole,
        pending_by_operation=operations.pending,
        by_extractor={},
        by_namespace=namespaces.whole,
        pending_by_namespace=namespaces.pending,
        by_retriever=retrievers.whole,
        pending_by_retriever=retrievers.pending,
        period_start=month.start,
        period_end=month.end,
    )


def _by_operation(charges: list[Charges]) -> Sum:
    return sum_by(charges, lambda charge: charge.operation)
