"""What the audit log holds: a record as the caller gives it, and the entry it becomes in the chain. Pure.

It never holds a value that was changed: only names of fields, and digests that tell two values apart.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.audit.actions import AuditAction
from core.audit.seal import Purpose, is_sealed, seal
from core.storage.keyring import Keyring, RootKey

_MAX_TEXT = 256
_MAX_FIELDS = 50
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class AuditStatus(StrEnum):
    """How it went."""

    ATTEMPTED = "attempted"
    """recorded before it was done; its outcome is an entry of its own"""
    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"


class ActorType(StrEnum):
    """What kind of somebody."""

    API_KEY = "api_key"
    USER = "user"
    OPERATOR = "operator"
    SYSTEM = "system"


@dataclass(frozen=True)
class Actor:
    """Who did it."""

    actor_id: str
    actor_type: ActorType
    name: str | None = None
    email: str | None = None
    key_name: str | None = None


OPERATOR = Actor("operator", ActorType.OPERATOR)
"""Whoever runs the installation. An organization reads its log: it does not learn who that is, or on which host."""


@dataclass(frozen=True)
class ChangeDigest:
    """What a change touched: the fields' names, and digests of the state before and after. No values."""

    fields: tuple[str, ...]
    before: str | None
    after: str | None


@dataclass(frozen=True)
class AuditRecord:
    """One fact for the log, as whoever witnessed it tells it."""

    action: AuditAction
    resource_type: str
    resource_id: str
    status: AuditStatus
    actor: Actor
    reason: str | None = None
    """an error's code"""
    request_id: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    namespace_id: str | None = None
    changes: ChangeDigest | None = None
    count: int = 1
    """how many alike requests the entry stands for: above 1 for denials that came in a flood"""


@dataclass(frozen=True)
class Tip:
    """The end of a chain: its newest number and that entry's MAC."""

    seq: int
    mac: str


NOTHING = Tip(0, "")
"""The end of a chain without entries."""


@dataclass(frozen=True)
class AuditEntry:
    """One link of an organization's chain, as it is stored."""

    audit_id: str
    internal_id: str
    seq: int
    """1, 2, 3 … without a gap, for each organization"""
    at: datetime
    action: str
    resource_type: str
    resource_id: str
    status: str
    reason: str | None
    actor_id: str
    actor_type: str
    actor_name: str | None
    actor_email: str | None
    actor_key_name: str | None
    request_id: str | None
    ip_address: str | None
    user_agent: str | None
    namespace_id: str | None
    changes: Mapping[str, Any] | None
    count: int
    prev_mac: str
    key_id: str
    """which of the operator's audit keys sealed it"""
    mac: str = ""

    @property
    def tip(self) -> Tip:
        """The chain's end, once this entry stands there."""
        return Tip(self.seq, self.mac)

    def sealed(self, key: RootKey) -> "AuditEntry":
        """The same entry with its MAC over all other fields."""
        return AuditEntry(**{**self._fields(), "mac": seal(key, Purpose.ENTRY, _unsealed(self.to_document()))})

    def to_document(self) -> dict[str, Any]:
        """As MongoDB stores it."""
        document = self._fields()
        return {"_id": document.pop("audit_id"), **document}

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> "AuditEntry":
        """Read what `to_document` wrote."""
        known = {item.name: document.get(item.name) for item in fields(AuditEntry)}
        return AuditEntry(**{**known, "audit_id": document["_id"]})

    def _fields(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


def is_genuine(keyring: Keyring, document: Mapping[str, Any]) -> bool:
    """Whether a stored entry is, to the field, what was sealed under one of the keys."""
    key = keyring.get(str(document.get("key_id")))
    return key is not None and is_sealed(key, Purpose.ENTRY, _unsealed(document), document.get("mac"))


def _unsealed(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "mac"}


def next_entry(
    record: AuditRecord, key: RootKey, tip: Tip, *, audit_id: str, internal_id: str, at: datetime
) -> AuditEntry:
    """The entry that `record` becomes after `tip`. Texts of strangers are cut, and lose their control characters."""
    actor = record.actor
    changes = record.changes
    return AuditEntry(
        audit_id=audit_id,
        internal_id=internal_id,
        seq=tip.seq + 1,
        at=at,
        action=record.action.value,
        resource_type=record.resource_type,
        resource_id=_text(record.resource_id) or "",
        status=record.status.value,
        reason=_text(record.reason),
        actor_id=actor.actor_id,
        actor_type=actor.actor_type.value,
        actor_name=_text(actor.name),
        actor_email=_text(actor.email),
        actor_key_name=_text(actor.key_name),
        request_id=record.request_id,
        ip_address=_text(record.ip_address),
        user_agent=_text(record.user_agent),
        namespace_id=record.namespace_id,
        changes={**asdict(changes), "fields": list(changes.fields)} if changes else None,
        count=record.count,
        prev_mac=tip.mac,
        key_id=key.key_id,
    ).sealed(key)


def digest_changes(
    key: RootKey, internal_id: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> ChangeDigest:
    """The names of the top-level fields that differ, and a keyed digest of each state. None stands for "not there".

    Raises TypeError for values that are not plain data.
    """
    old, new = before or {}, after or {}
    changed = [name for name in sorted({*old, *new}) if name not in old or name not in new or old[name] != new[name]]

    def digest(state: Mapping[str, Any] | None) -> str | None:
        # bound to the organization: equal values of two tenants must not look equal
        return None if state is None else seal(key, Purpose.CHANGES, {"of": internal_id, "state": state})

    names = tuple(str(_text(name)) for name in changed[:_MAX_FIELDS])
    return ChangeDigest(names, digest(before), digest(after))


def _text(text: str | None) -> str | None:
    return None if text is None else _CONTROL.sub("", text)[:_MAX_TEXT]
