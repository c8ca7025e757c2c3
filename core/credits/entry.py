"""One entry of the ledger, its kinds, and the arithmetic from one entry to the next. Pure.

The balance is the newest entry: each carries what is posted and held after it, and the hash of the one before.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson


class EntryKind(StrEnum):
    """What happened to the credits."""

    GRANT = "grant"
    """credits were added by the operator"""
    HOLD = "hold"
    """credits were reserved for a job"""
    CAPTURE = "capture"
    """a job's use was charged, and the rest of its hold given back"""
    RELEASE = "release"
    """a job's whole hold was given back"""


@dataclass(frozen=True)
class Entry:
    """One fact about one organization's credits. Amounts in milli-credits, never negative."""

    internal_id: str
    seq: int
    """1, 2, 3 … without a gap, for each organization"""
    op_id: str
    """the operation; the same one is never written twice"""
    kind: EntryKind
    amount: int
    hold_id: str | None
    """the hold that this opens or closes: a job's id, or the id and a number when its first hold was released"""
    posted_after: int
    held_after: int
    price_version: str
    at: datetime
    prev_hash: str
    usage: Mapping[str, Any] | None = None
    """what a capture was for: operation, namespace and resource; the oldest entries do not say"""
    hash: str = ""

    @property
    def available_after(self) -> int:
        """What could still be held after this entry."""
        return self.posted_after - self.held_after

    @property
    def job_id(self) -> str | None:
        """The job that the hold is for."""
        return self.hold_id.partition(".")[0] if self.hold_id else None

    @property
    def closes_hold(self) -> bool:
        """Whether this entry ends its hold, for good."""
        return self.kind in {EntryKind.CAPTURE, EntryKind.RELEASE}

    def sealed(self) -> "Entry":
        """The same entry with its hash over all other fields."""
        return Entry(**{**self._fields(), "hash": self.computed_hash()})

    def computed_hash(self) -> str:
        """SHA-256 over every field but the hash itself."""
        fields = {**self._fields(), "hash": ""}
        return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def to_document(self) -> dict[str, Any]:
        """As MongoDB stores it. `terminal` carries the unique index that lets a hold end only once."""
        document = {**self._fields(), "kind": self.kind.value}
        return document | ({"terminal": True} if self.closes_hold else {})

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> "Entry":
        """Read what `to_document` wrote."""
        fields = {name: document[name] for name in Entry.__dataclass_fields__ if name != "usage"}
        return Entry(**{**fields, "kind": EntryKind(document["kind"]), "usage": document.get("usage")})

    def _fields(self) -> dict[str, Any]:
        """All that is stored and hashed: an entry without usage is, to the byte, what it was before there was any."""
        fields = asdict(self)
        if self.usage is None:
            del fields["usage"]
        return fields


def hold_id_of(job_id: str, number: int) -> str:
    """The name of a job's hold: the job's own id, and a number from the second hold on."""
    return job_id if number == 1 else f"{job_id}.{number}"


@dataclass(frozen=True)
class Balance:
    """An organization's credits, in milli-credits."""

    posted: int
    held: int

    @property
    def available(self) -> int:
        """What a new hold may take."""
        return self.posted - self.held
