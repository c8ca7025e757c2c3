"""Single charges on the wire. Whole credits in integers, what they leave in `pending_credits`."""

from datetime import datetime
from typing import Any

from api.schemas.fields import Answer, View
from api.schemas.paging import PaginationView, PagingQuery
from api.schemas.usage import BillingMonth
from core.credits.entry import Entry
from core.credits.prices import pending_credits, usd, whole_credits
from core.credits.totals import UNATTRIBUTED, month_of
from core.storage.paging import Page


class TransactionsQuery(PagingQuery):
    """GET /v1/organizations/billing/transactions"""

    default_limit = 50
    billing_month: BillingMonth | None = None
    """The last 366 days when it is not given."""


class TransactionView(View):
    """The published TransactionInfo: one charge."""

    record_id: str
    """The charge."""
    occurred_at: datetime
    """When it was charged."""
    billing_month: str
    """YYYY-MM"""
    credits_consumed: int
    """Whole credits."""
    pending_credits: float
    """The rest below one credit."""
    cost_usd: float
    """What it costs."""
    operation_type: str
    """The kind of operation; `unattributed` where the ledger does not say."""
    extractor_name: str | None
    """Not known: a batch is charged as a whole."""
    resource_id: str | None
    """What worked: a batch or a retriever."""
    resource_type: str | None
    """`batch` or `retriever`."""
    namespace_id: str | None
    """Where."""
    metadata: dict[str, Any]
    """The task, and the collections of a batch."""


class TransactionsView(Answer):
    """The published TransactionsListResponse."""

    transactions: list[TransactionView]
    """Charges, newest first."""
    total: int
    """How many there are in the period."""
    limit: int
    """At most so many on this page."""
    offset: int
    """Charges before this page."""
    has_more: bool
    """Whether there are charges after this page."""
    pagination: PaginationView
    """The same as in every list, and the `next_cursor`."""


def show_transactions(page: Page[Entry]) -> TransactionsView:
    """A page of charges."""
    return TransactionsView(
        transactions=list(map(show_transaction, page.records)),
        total=page.known_count,
        limit=page.limit,
        offset=page.offset,
        has_more=page.next_cursor is not None,
        pagination=PaginationView.of(page),
    )


def show_transaction(entry: Entry) -> TransactionView:
    """One charge."""
    usage = entry.usage or {}
    kind = next((kind for kind in ("batch", "retriever") if f"{kind}_id" in usage), None)
    collections = {"collection_ids": usage["collection_ids"]} if "collection_ids" in usage else {}
    return TransactionView(
        record_id=entry.op_id,
        occurred_at=entry.at,
        billing_month=month_of(entry.at),
        credits_consumed=whole_credits(entry.amount),
        pending_credits=pending_credits(entry.amount),
        cost_usd=usd(entry.amount),
        operation_type=usage.get("operation", UNATTRIBUTED),
        extractor_name=None,
        resource_id=usage[f"{kind}_id"] if kind else None,
        resource_type=kind,
        namespace_id=usage.get("namespace_id"),
        metadata={"task_id": entry.job_id, **collections},
    )
