"""The append-only ledger: grant, hold, capture, release, each once per operation. It never updates or deletes.

One insert is the whole effect of an operation, so there is no moment at which a crash leaves half of one. Two
writers that saw the same head collide on the unique (internal_id, seq); the same operation again collides on the
unique (internal_id, op_id); a second end of one hold collides on the unique (internal_id, hold_id) of terminal
entries. Derived from the design of `posted`/`pending` transfers with client-given ids.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from core.clock import DatabaseClock
from core.credits.entry import Balance, Entry, EntryKind
from core.credits.prices import PRICE_VERSION, whole_credits
from core.errors import ConflictError, InsufficientCreditsError, IntegrityError
from core.recent import Recent
from core.storage.handles import Handles
from core.storage.scope import OrganizationScope

_HINT_EVERY = 50
"""Entries between two notes of the head's number, which spare a new process the search from the start."""
_MOST_KNOWN = 20_000
"""Organizations whose head is remembered, some 4 MB; one that was forgotten costs two reads."""


class _HeadMovedError(Exception):
    """Another writer appended first."""


class Ledger:
    """The credits of every organization."""

    def __init__(self, handles: Handles, clock: DatabaseClock) -> None:
        self._handles = handles
        self._clock = clock
        self._lock = threading.Lock()
        self._known = Recent[str, int](_MOST_KNOWN)

    def grant(self, scope: OrganizationScope, op_id: str, amount: int) -> Entry:
        """Add credits. `op_id` makes it happen once. An operator's act."""
        if amount <= 0:
            raise ValueError("a grant must be above 0 milli-credits")
        return self._append(scope, op_id, lambda head: self._next(head, scope, op_id, EntryKind.GRANT, amount, None))

    def hold(self, scope: OrganizationScope, hold_id: str, amount: int) -> Entry:
        """Reserve `amount`, once. Raises InsufficientCreditsError, and ConflictError when this hold has ended."""
        op_id = f"hold:{hold_id}"

        def entry(head: Entry | None) -> Entry:
            available = head.available_after if head else 0
            if available < amount:
                raise InsufficientCreditsError(
                    required=whole_credits(amount + 999), available=whole_credits(available), retryable=False
                )
            return self._next(head, scope, op_id, EntryKind.HOLD, amount, hold_id)

        return self._append(scope, op_id, entry)

    def capture(
        self, scope: OrganizationScope, hold: Entry, amount: int, usage: Mapping[str, Any] | None = None
    ) -> Entry:
        """Charge `amount` of a hold for `usage` and give the rest back, once. Zero gives everything back.

        Raises ConflictError when the hold has ended in another way already.
        """
        if not 0 <= amount <= hold.amount:
            raise ValueError(f"cannot capture {amount} of a hold of {hold.amount} milli-credits")
        kind = EntryKind.CAPTURE if amount else EntryKind.RELEASE
        op_id = f"{'cap' if amount else 'rel'}:{hold.hold_id}"

        def entry(head: Entry | None) -> Entry:
            charged, purpose = (amount, usage) if amount else (hold.amount, None)
            return self._next(head, scope, op_id, kind, charged, hold.hold_id, releases=hold.amount, usage=purpose)

        return self._append(scope, op_id, entry)

    def release(self, scope: OrganizationScope, hold: Entry) -> Entry:
        """Give a whole hold back, once. Raises ConflictError when it was captured."""
        return self.capture(scope, hold, 0)

    def entries_of(self, scope: OrganizationScope, hold_id: str) -> list[Entry]:
        """A hold and, when there is one, the entry that closed it."""
        op_ids = [f"{step}:{hold_id}" for step in ("hold", "cap", "rel")]
        found = self._handles.organization(scope)["ledger"].find({"op_id": {"$in": op_ids}})
        return sorted(map(Entry.from_document, found), key=lambda entry: entry.seq)

    def balance(self, scope: OrganizationScope) -> Balance:
        """What is posted and held now."""
        head = self._head(scope)
        return Balance(head.posted_after, head.held_after) if head else Balance(0, 0)

    def statement(self, scope: OrganizationScope, after_seq: int = 0, limit: int = 1000) -> list[Entry]:
        """Entries in order, from the one after `after_seq`."""
        query = {"seq": {"$gt": after_seq, "$lte": after_seq + limit}}
        found = self._handles.organization(scope)["ledger"].find(query)
        return sorted(map(Entry.from_document, found), key=lambda entry: entry.seq)

    def holds_between(self, start: datetime, end: datetime, limit: int) -> list[Entry]:
        """Holds of all organizations made in [start, end): what the sweeper looks through for orphans."""
        query = {"kind": EntryKind.HOLD.value, "at": {"$gte": start, "$lt": end}}
        found = self._handles.system["ledger"].find(query).sort("at", 1).limit(limit)
        return list(map(Entry.from_document, found))

    @retry(
        retry=retry_if_exception_type(_HeadMovedError),
        wait=wait_random_exponential(multiplier=0.002, max=0.25),
        stop=stop_after_attempt(200),
        reraise=True,
    )
    def _append(self, scope: OrganizationScope, op_id: str, make: Callable[[Entry | None], Entry]) -> Entry:
        ledger = self._handles.organization(scope)["ledger"]
        head = self._head(scope)
        try:
            entry = make(head)
        except InsufficientCreditsError:
            # the operation may be the very one that used the credits up
            if done := self._done(scope, op_id):
                return done
            raise
        try:
            ledger.insert_one(entry.to_document())
        except DuplicateKeyError as error:
            return self._resolve_collision(scope, entry, error)
        self._remember(scope, entry.seq)
        return entry

    def _resolve_collision(self, scope: OrganizationScope, entry: Entry, error: DuplicateKeyError) -> Entry:
        """Tell "done already" from "another writer was first" from "the hold has ended otherwise"."""
        ledger = self._handles.organization(scope)["ledger"]
        if stored := self._done(scope, entry.op_id):
            if (stored.kind, stored.amount, stored.hold_id) != (entry.kind, entry.amount, entry.hold_id):
                raise IntegrityError(f"ledger operation {entry.op_id} was tried again with other amounts")
            return stored
        if entry.closes_hold and ledger.find_one({"hold_id": entry.hold_id, "terminal": True}):
            raise ConflictError(f"the hold of {entry.hold_id} has ended already") from error
        raise _HeadMovedError from error

    def _done(self, scope: OrganizationScope, op_id: str) -> Entry | None:
        """What this operation wrote when it was made before. Raises ConflictError for a hold that has ended since."""
        ledger = self._handles.organization(scope)["ledger"]
        found = ledger.find_one({"op_id": op_id})
        done = Entry.from_document(found) if found else None
        if done and done.kind is EntryKind.HOLD and ledger.find_one({"hold_id": done.hold_id, "terminal": True}):
            raise ConflictError(f"the hold {done.hold_id} has ended already")
        return done

    def _head(self, scope: OrganizationScope) -> Entry | None:
        known = self._known.get(scope.internal_id, 0) or self._read_hint(scope)
        found = self._handles.organization(scope)["ledger"].find({"seq": {"$gte": known}})
        head = max(map(Entry.from_document, found), key=lambda entry: entry.seq, default=None)
        if head:
            self._remember(scope, head.seq)
        return head

    def _remember(self, scope: OrganizationScope, seq: int) -> None:
        with self._lock:
            if seq <= self._known.get(scope.internal_id, 0):
                return
            self._known.put(scope.internal_id, seq)
        if seq % _HINT_EVERY == 0:
            self._handles.organization(scope)["credit_accounts"].replace_many([{"_id": scope.internal_id, "seq": seq}])

    def _read_hint(self, scope: OrganizationScope) -> int:
        found = self._handles.organization(scope)["credit_accounts"].find_one({"_id": scope.internal_id})
        return int(found["seq"]) if found else 0

    def _next(
        self,
        head: Entry | None,
        scope: OrganizationScope,
        op_id: str,
        kind: EntryKind,
        amount: int,
        hold_id: str | None,
        releases: int = 0,
        usage: Mapping[str, Any] | None = None,
    ) -> Entry:
        """The entry after `head`. `releases` is what a closing entry takes from the held sum."""
        posted, held = (head.posted_after, head.held_after) if head else (0, 0)
        posted_change = {EntryKind.GRANT: amount, EntryKind.CAPTURE: -amount}.get(kind, 0)
        held_change = amount if kind is EntryKind.HOLD else -releases
        return Entry(
            internal_id=scope.internal_id,
            seq=head.seq + 1 if head else 1,
            op_id=op_id,
            kind=kind,
            amount=amount,
            hold_id=hold_id,
            posted_after=posted + posted_change,
            held_after=held + held_change,
            price_version=PRICE_VERSION,
            at=self._clock.now(),
            prev_hash=head.hash if head else "",
            usage=usage,
        ).sealed()
