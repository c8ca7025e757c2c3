"""Reads what an organization was charged, and for what, from the captures of its ledger. It never writes.

The ledger is the only source, so the sums are those that a reconciliation finds. Reads go by windows of a week on an
index that ends with kind and time: none of them holds the database up for long.
"""

from collections import Counter
from datetime import timedelta
from typing import Any

from core.credits.entry import Entry, EntryKind
from core.credits.totals import UNATTRIBUTED, Charges, Period
from core.storage.cursor import TICK
from core.storage.handles import Handles, ScopedCollection
from core.storage.paging import Order, Page, PageRequest, Span, read_page
from core.storage.scope import NamespaceScope, OrganizationScope

_WINDOW = timedelta(days=7)
_NEWEST_FIRST = Order("at", "seq", int, windows=(_WINDOW,) * 60)
"""The same windows, for more than a year."""
_PURPOSE = {name: f"usage.{name}" for name in ("operation", "namespace_id", "retriever_id")}


class UsageReader:
    """What was charged: to an organization, or for one of its namespaces when the scope is one."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def charges(self, scope: OrganizationScope, period: Period) -> list[Charges]:
        """The captures of a period, added up by what they were for."""
        amounts: Counter[tuple[str, str | None, str | None]] = Counter()
        for window in period.windows(_WINDOW):
            for row in self._ledger(scope).sums(
                {**_captures(scope), "at": {"$gte": window.start, "$lt": window.end}}, "amount", _PURPOSE
            ):
                purpose = row["_id"]
                operation = purpose.get("operation") or UNATTRIBUTED
                amounts[operation, purpose.get("namespace_id"), purpose.get("retriever_id")] += row["sum"]
        return [Charges(*purpose, amount) for purpose, amount in amounts.items()]

    def page(self, scope: OrganizationScope, period: Period, request: PageRequest) -> Page[Entry]:
        """Captures of a period, newest first, a page at a time. Raises ValidationFailedError for a bad cursor."""
        # stored times are whole milliseconds
        span = Span(after=period.start - TICK, until=period.end - TICK)
        return read_page(self._ledger(scope), _captures(scope), request, _NEWEST_FIRST, span).map(Entry.from_document)

    def _ledger(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["ledger"]


def _captures(scope: OrganizationScope) -> dict[str, Any]:
    narrowed = {"usage.namespace_id": scope.namespace_id} if isinstance(scope, NamespaceScope) else {}
    return {"kind": EntryKind.CAPTURE.value, **narrowed}
