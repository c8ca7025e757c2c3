"""Reads what an organization was charged, and for what, from the captures of its ledger. It never writes.

The ledger is the only source, so the sums are those that a reconciliation finds. Reads go by windows of a week on an
index that ends with kind and time: none of them holds the database up for long.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pymongo import DESCENDING

from core.credits.entry import Entry, EntryKind
from core.credits.totals import UNATTRIBUTED, Charges, Period
from core.storage.handles import Handles, ScopedCollection
from core.storage.scope import NamespaceScope, OrganizationScope

_WINDOW = timedelta(days=7)
_PURPOSE = {name: f"usage.{name}" for name in ("operation", "namespace_id", "retriever_id")}


@dataclass(frozen=True)
class CapturePage:
    """Some captures, newest first, and how many there are in all."""

    entries: list[Entry]
    total: int


class UsageReader:
    """What was charged: to an organization, or for one of its namespaces when the scope is one."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def charges(self, scope: OrganizationScope, period: Period) -> list[Charges]:
        """The captures of a period, added up by what they were for."""
        amounts: Counter[tuple[str, str | None, str | None]] = Counter()
        for window in period.windows(_WINDOW):
            for row in self._ledger(scope).sums(_captures(scope, window), "amount", _PURPOSE):
                purpose = row["_id"]
                operation = purpose.get("operation") or UNATTRIBUTED
                amounts[operation, purpose.get("namespace_id"), purpose.get("retriever_id")] += row["sum"]
        return [Charges(*purpose, amount) for purpose, amount in amounts.items()]

    def page(self, scope: OrganizationScope, period: Period, *, offset: int, limit: int) -> CapturePage:
        """Captures of a period after the newest `offset`. Only the windows that hold them are read."""
        entries: list[Entry] = []
        total = 0
        for window in period.windows(_WINDOW):
            query = _captures(scope, window)
            count = sum(row["count"] for row in self._ledger(scope).sums(query, "amount", {}))
            skip, missing = max(offset - total, 0), limit - len(entries)
            total += count
            if skip < count and missing:
                found = self._ledger(scope).find(query).sort([("at", DESCENDING), ("seq", DESCENDING)])
                entries += map(Entry.from_document, found.skip(skip).limit(missing))
        return CapturePage(entries, total)

    def _ledger(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["ledger"]


def _captures(scope: OrganizationScope, window: Period) -> dict[str, Any]:
    query = {"kind": EntryKind.CAPTURE.value, "at": {"$gte": window.start, "$lt": window.end}}
    narrowed = {"usage.namespace_id": scope.namespace_id} if isinstance(scope, NamespaceScope) else {}
    return {**query, **narrowed}
