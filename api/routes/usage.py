"""What was charged, for reconciliation: sums and single charges from the ledger, and the rate card. Changes nothing."""

from dataclasses import replace
from datetime import timedelta

from api.call import Call, Reply
from api.route import ORGANIZATION, SENT_NAMESPACE, NamespaceMode, Route
from api.schemas.pricing import PricingView, show_pricing
from api.schemas.transactions import TransactionsQuery, TransactionsView, show_transactions
from api.schemas.usage import (
    MAX_PERIOD,
    BreakdownView,
    CurrentUsageView,
    MonthQuery,
    OrganizationUsageView,
    SummaryQuery,
    SummaryView,
    UsageQuery,
    period_of,
    show_breakdown,
    show_current,
    show_summary,
    show_usage,
)
from core.credits.totals import Period, month_of, month_period
from core.storage.scope import OrganizationScope
from core.tenancy.permissions import Permission


def get_summary(call: Call) -> Reply:
    """What the namespace was charged in a period, by kind of operation."""
    asked = call.parse_query(SummaryQuery)
    period = period_of(asked.start_date, asked.end_date, call.services.clock.now(), ("start_date", "end_date"))
    charges = call.services.usage.charges(call.scope, period)
    return Reply(show_summary(charges, call.scope.namespace_id, period))


def get_usage(call: Call) -> Reply:
    """What the organization was charged in a period, and what is left."""
    asked = call.parse_query(UsageQuery)
    period = period_of(asked.start, asked.end, call.services.clock.now(), ("start", "end"))
    charges = call.services.usage.charges(_charged(call), period)
    return Reply(show_usage(charges, call.services.ledger.balance(call.organization), period))


def get_current_usage(call: Call) -> Reply:
    """What the organization was charged this month."""
    month = month_period(_this_month(call))
    return Reply(show_current(call.services.usage.charges(_charged(call), month), month))


def get_breakdown(call: Call) -> Reply:
    """What a month's charges were for."""
    month = month_period(call.parse_query(MonthQuery).billing_month or _this_month(call))
    return Reply(show_breakdown(call.services.usage.charges(_charged(call), month), month))


def list_transactions(call: Call) -> Reply:
    """Single charges, newest first."""
    asked = call.parse_query(TransactionsQuery)
    now = call.services.clock.now() + timedelta(milliseconds=1)
    period = month_period(asked.billing_month) if asked.billing_month else Period(now - MAX_PERIOD, now)
    # the published answer has a total, always
    request = replace(asked.request(), include_total=True)
    return Reply(show_transactions(call.services.usage.page(_charged(call), period, request)))


def get_pricing(_: Call) -> Reply:
    """The rate card."""
    return Reply(show_pricing())


def _charged(call: Call) -> OrganizationScope:
    """Whose charges: the organization's, or for a key that is bound to an environment those of a namespace in it."""
    return call.narrowest_scope if call.known_caller.key.grant.environment else call.organization


def _this_month(call: Call) -> str:
    return month_of(call.services.clock.now())


_ORGANIZATION = "/v1/organizations"
_BILLING = f"{_ORGANIZATION}/billing"
_ANY = NamespaceMode.OPTIONAL

ROUTES = (
    Route(
        "GET",
        "/v1/analytics/usage/summary",
        "analytics.usage_summary",
        get_summary,
        Permission.READ,
        SENT_NAMESPACE,
        query=SummaryQuery,
        answers={200: SummaryView},
    ),
    Route(
        "GET",
        f"{_ORGANIZATION}/usage",
        "organizations.usage",
        get_usage,
        Permission.READ,
        ORGANIZATION,
        query=UsageQuery,
        answers={200: OrganizationUsageView},
        namespace=_ANY,
    ),
    Route(
        "GET",
        f"{_BILLING}/usage/current",
        "billing.current_usage",
        get_current_usage,
        Permission.READ,
        ORGANIZATION,
        answers={200: CurrentUsageView},
        namespace=_ANY,
    ),
    Route(
        "GET",
        f"{_BILLING}/usage/breakdown",
        "billing.usage_breakdown",
        get_breakdown,
        Permission.READ,
        ORGANIZATION,
        query=MonthQuery,
        answers={200: BreakdownView},
        namespace=_ANY,
    ),
    Route(
        "GET",
        f"{_BILLING}/transactions",
        "billing.transactions",
        list_transactions,
        Permission.READ,
        ORGANIZATION,
        query=TransactionsQuery,
        answers={200: TransactionsView},
        namespace=_ANY,
    ),
    Route(
        "GET",
        "/v1/billing/pricing",
        "billing.pricing",
        get_pricing,
        None,
        namespace=NamespaceMode.NONE,
        answers={200: PricingView},
    ),
)
