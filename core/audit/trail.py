"""The audit log in MongoDB: one chain of sealed entries for each organization. It never updates or deletes an entry.

An entry is one insert under the unique (internal_id, seq), chained to the one before by its MAC. After it the head
record moves, which says under a seal of its own where the chain ends; a crash between the two leaves an entry beyond
the head, and the next one chains to it. A head that is gone or forged is left as it is, so that the check goes on
finding it.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from pymongo.errors import DuplicateKeyError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from core.audit.entry import NOTHING, AuditEntry, AuditRecord, ChangeDigest, Tip, digest_changes, next_entry
from core.audit.head import genuine_tip, sealed_head
from core.audit.pages import NEWEST_FIRST, LogFilter
from core.clock import DatabaseClock
from core.errors import NotFoundError, UnavailableError
from core.ids import Prefix, random_id
from core.recent import Recent
from core.storage.failures import tried_twice
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document
from core.storage.paging import Page, PageRequest, read_page
from core.storage.scope import OrganizationScope

PAGE = 1000
"""Entries that one read of a chain covers."""
_MOST_KNOWN = 20_000
"""Organizations whose chain's end is remembered, some 6 MB; one that was forgotten costs a second try."""

log = structlog.get_logger(__name__)


class _ChainMovedError(UnavailableError):
    """Another writer appended first."""


@dataclass(frozen=True)
class AuditSettings:
    """What an organization chooses about its log."""

    read_auditing_enabled: bool = False


class AuditTrail:
    """The audit logs of every organization."""

    def __init__(self, handles: Handles, clock: DatabaseClock, keyring: Keyring) -> None:
        self._handles = handles
        self._clock = clock
        self._keyring = keyring
        self._lock = threading.Lock()
        self._known = Recent[str, Tip](_MOST_KNOWN)

    # Writing ----------------------------------------------------------------------------------------

    @retry(
        retry=retry_if_exception_type(_ChainMovedError),
        wait=wait_random_exponential(multiplier=0.002, max=0.25),
        stop=stop_after_attempt(200),
        reraise=True,
    )
    def append(self, scope: OrganizationScope, record: AuditRecord) -> AuditEntry:
        """Add one entry at the chain's end. Raises UnavailableError when other writers are always first."""
        head = self._head(scope)
        entry = next_entry(
            record,
            self._keyring.newest,
            max(head or NOTHING, self._known.get(scope.internal_id, NOTHING), key=lambda tip: tip.seq),
            audit_id=random_id(Prefix.AUDIT),
            internal_id=scope.internal_id,
            at=self._clock.now(),
        )
        if not self._inserted(scope, entry):
            self._catch_up(scope, Tip(entry.seq - 1, entry.prev_mac))
            raise _ChainMovedError
        self._remember(scope, entry.tip)
        if head:
            self._move_head(scope, entry.tip)
        return entry

    def digest(
        self, scope: OrganizationScope, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> ChangeDigest:
        """What may be said in the log about a change: names of fields and digests, never a value."""
        return digest_changes(self._keyring.newest, scope.internal_id, before, after)

    @tried_twice
    def _inserted(self, scope: OrganizationScope, entry: AuditEntry) -> bool:
        """Whether the entry stands; False when another one has its place."""
        entries = self._handles.organization(scope)["audit"]
        try:
            entries.insert_one(entry.to_document())
        except DuplicateKeyError:
            # tried again after a lost answer, it may be its own predecessor
            return entries.find_one({"_id": entry.audit_id}, {"_id": 1}) is not None
        return True

    def _head(self, scope: OrganizationScope) -> Tip | None:
        """Where the chain ends by its head, which a new chain gets here. None for a head that is gone or forged."""
        heads = self._handles.organization(scope)["audit_heads"]
        found = heads.find_one({"_id": scope.internal_id})
        if found is None and self._handles.organization(scope)["audit"].find_one({}, {"_id": 1}) is None:
            try:
                heads.insert_one(self._sealed_head(scope, NOTHING))
            except DuplicateKeyError:
                log.debug("audit.head_made_by_another")
        # the first look may have come before another writer's first entry
        found = found or heads.find_one({"_id": scope.internal_id})
        tip = genuine_tip(self._keyring, found) if found else None
        if tip is None:
            log.error("audit.head_not_genuine", missing=found is None)
        return tip

    @tried_twice
    def _move_head(self, scope: OrganizationScope, tip: Tip) -> None:
        """Say where the chain ends now, unless a later entry has said so."""
        head = self._sealed_head(scope, tip)
        changed = {name: head[name] for name in ("seq", "mac", "key_id", "at", "head_mac")}
        self._handles.organization(scope)["audit_heads"].update_one(
            {"_id": scope.internal_id, "seq": {"$lt": tip.seq}}, {"$set": changed}
        )

    def _sealed_head(self, scope: OrganizationScope, tip: Tip) -> dict[str, Any]:
        return sealed_head(self._keyring.newest, scope.internal_id, tip, self._clock.now())

    def _catch_up(self, scope: OrganizationScope, tip: Tip) -> None:
        """Find the chain's end from a place on it."""
        entries = self._handles.organization(scope)["audit"]
        full = True
        while full:
            window = {"seq": {"$gt": tip.seq, "$lte": tip.seq + PAGE}}
            found = [row for row in entries.find(window, {"seq": 1, "mac": 1}) if isinstance(row["seq"], int)]
            full = len(found) == PAGE
            if found:
                newest = max(found, key=lambda row: int(row["seq"]))
                tip = Tip(newest["seq"], str(newest.get("mac", "")))
        self._remember(scope, tip)

    def _remember(self, scope: OrganizationScope, tip: Tip) -> None:
        with self._lock:
            if tip.seq > self._known.get(scope.internal_id, NOTHING).seq:
                self._known.put(scope.internal_id, tip)

    # Reading ----------------------------------------------------------------------------------------

    def get(self, scope: OrganizationScope, audit_id: str) -> AuditEntry:
        """One entry. Raises NotFoundError."""
        found = self._handles.organization(scope)["audit"].find_one({"_id": audit_id})
        if found is None:
            raise NotFoundError("The audit event was not found.")
        return AuditEntry.from_document(found)

    def page(self, scope: OrganizationScope, wanted: LogFilter, request: PageRequest) -> Page[AuditEntry]:
        """Entries, newest first, a page at a time. Raises ValidationFailedError for a bad cursor."""
        entries = self._handles.organization(scope)["audit"]
        return read_page(entries, wanted.query, request, NEWEST_FIRST, wanted.span).map(AuditEntry.from_document)

    def export(self, scope: OrganizationScope, wanted: LogFilter, max_events: int) -> tuple[list[AuditEntry], bool]:
        """The newest `max_events` entries, and whether there are more."""
        page = self.page(scope, wanted, PageRequest(limit=max_events))
        return page.records, page.next_cursor is not None

    def count(self, scope: OrganizationScope) -> int:
        """How many entries are stored."""
        return self._handles.organization(scope)["audit"].count({})

    # Evidence: what a check looks at, as it is stored -------------------------------------------------

    def stored_head(self, scope: OrganizationScope) -> Document | None:
        """The head record."""
        return self._handles.organization(scope)["audit_heads"].find_one({"_id": scope.internal_id})

    def stored_entries(self, scope: OrganizationScope, after: int, until: int) -> Iterator[Document]:
        """Entries in the order of their numbers: up to number `until`, and on while pages are full."""
        entries = self._handles.organization(scope)["audit"]
        while True:
            found = list(entries.find({"seq": {"$gt": after, "$lte": after + PAGE}}).sort("seq", 1))
            yield from found
            after += PAGE
            if len(found) < PAGE and after >= until:
                return

    def heads_moved_between(self, start: datetime, end: datetime, limit: int) -> list[Document]:
        """Heads of all organizations that moved in [start, end), oldest first: what the sweeper looks through."""
        query = {"at": {"$gte": start, "$lt": end}}
        return list(self._handles.system["audit_heads"].find(query).sort("at", 1).limit(limit))

    # Settings ---------------------------------------------------------------------------------------

    def settings(self, scope: OrganizationScope) -> AuditSettings:
        """What the organization chose. Raises NotFoundError for one that does not exist."""
        found = self._handles.organization(scope)["organizations"].find_one(
            {"_id": scope.internal_id}, {"audit_settings": 1}
        )
        if found is None:
            raise NotFoundError
        return AuditSettings(**found.get("audit_settings", {}))

    def update_settings(self, scope: OrganizationScope, settings: AuditSettings) -> AuditSettings:
        """Choose. Raises NotFoundError."""
        changed = {"audit_settings.read_auditing_enabled": settings.read_auditing_enabled}
        if not self._handles.organization(scope)["organizations"].update_one(
            {"_id": scope.internal_id}, {"$set": changed}
        ):
            raise NotFoundError
        return settings
