"""Rotation of keys while secrets are in use, each step safe to repeat; and their destruction with an organization.

A new key-encryption key wraps the data keys again and touches no secret. A new data key seals an organization's values
again; the old one opens what is left until nothing is, and is then destroyed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from pymongo.errors import DuplicateKeyError

from core.audit.entry import OPERATOR
from core.audit.trail import AuditTrail
from core.clock import now
from core.errors import IntegrityError
from core.storage.handles import Handles, OrganizationData
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope
from core.vault.cipher import Cipher, DataKey, SealedValue, SecretRecord
from core.vault.data_keys import DataKeys, KeyState, key_id, wrapped_fields, wrapped_of
from core.vault.kek import KeyEncryption
from core.vault.unreadable import SECRET, WEBHOOK, WEBHOOK_HEADERS, Part, unreadable
from core.webhooks.endpoint import secret_record
from core.webhooks.own_headers import SEALED, headers_record

_AT_ONCE = 100
"""Values that one transaction seals again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Rewrapped:
    """What a rotation of the key-encryption key did."""

    kek_id: str
    rewrapped: int
    unreadable: int
    """data keys that no configured key opens: they stay as they are"""


@dataclass(frozen=True)
class Resealed:
    """What a rotation of one organization's data key did."""

    begun: bool
    """false when its key was younger than asked, or the organization has none"""
    values: int
    destroyed: int
    """old keys that nothing is sealed under any more"""
    unreadable: int
    """values that do not open: their key is kept"""


class KeyRotation:
    """Rotates and destroys keys, for operators."""

    def __init__(self, handles: Handles, kek: KeyEncryption, keys: DataKeys, cipher: Cipher, trail: AuditTrail) -> None:
        self._handles = handles
        self._kek = kek
        self._keys = keys
        self._cipher = cipher
        self._trail = trail

    # The key-encryption key -------------------------------------------------------------------------

    def rewrap_all(self) -> Rewrapped:
        """Wrap every organization's data keys with the current key-encryption key."""
        target, rewrapped = self._kek.current_kek_id(), 0
        while True:
            outcomes = [self._rewrap(row, target) for row in self._wrapped_otherwise(target)]
            rewrapped += outcomes.count(True)
            if True not in outcomes:
                return Rewrapped(target, rewrapped, outcomes.count(False))

    def rewrap(self, scope: OrganizationScope) -> Rewrapped:
        """The same for one organization."""
        target = self._kek.current_kek_id()
        rows = self._handles.organization(scope)["org_keys"].find({"version": {"$gte": 1}})
        outcomes = [self._rewrap(row, target) for row in rows if row.get("kek_id", target) != target]
        return Rewrapped(target, outcomes.count(True), outcomes.count(False))

    def _wrapped_otherwise(self, target: str) -> Iterator[Document]:
        # two ranges on the index; a destroyed key has no kek_id
        for other in ({"$gt": target}, {"$lt": target}):
            yield from self._handles.system["org_keys"].find({"kek_id": other})

    def _rewrap(self, row: Mapping[str, Any], target: str) -> bool:
        scope, wrapped = OrganizationScope(row["internal_id"]), wrapped_of(row)
        try:
            key = self._kek.unwrap(wrapped, scope.internal_id, row["version"])
        except IntegrityError as error:
            log.error("vault.data_key_unreadable", kek_id=wrapped.kek_id, error=error.message, target=target)
            return False
        anew = wrapped_fields(self._kek.wrap(key, scope.internal_id, row["version"]))
        # a key that was destroyed meanwhile stays so
        unchanged = {"_id": row["_id"], "wrapped": wrapped.blob}
        self._handles.organization(scope)["org_keys"].update_one(unchanged, {"$set": anew})
        return True

    # Data keys --------------------------------------------------------------------------------------

    def rotate(self, scope: OrganizationScope, before: datetime) -> Resealed:
        """Give an organization a new data key if its present one was made before `before`, and retire the old ones.

        Called again after it was stopped, with the same moment, it goes on from where it was.
        """
        rows = list(self._handles.organization(scope)["org_keys"].find({"version": {"$gte": 1}}))
        active = next((row for row in rows if row["state"] == KeyState.ACTIVE), None)
        begun = active is not None and active["created_at"] < before and self._succeed(scope, active)
        retired = sorted(row["version"] for row in rows if row["state"] == KeyState.DECRYPT_ONLY)
        values = unreadable = destroyed = 0
        for version in [*retired, *([active["version"]] if active and begun else [])]:
            moved, failed = self._reseal_all(scope, version)
            values, unreadable = values + moved, unreadable + failed
            destroyed += self._destroy_if_unused(scope, version)
        return Resealed(begun, values, destroyed, unreadable)

    def _succeed(self, scope: OrganizationScope, active: Mapping[str, Any]) -> bool:
        """Make the next key the active one; the present one only opens from now on. False: somebody else did."""
        successor = self._keys.new_key(scope, active["version"] + 1)
        retired: list[bool] = []

        def write(data: OrganizationData) -> None:
            still = {"_id": active["_id"], "state": KeyState.ACTIVE.value}
            retired.append(data["org_keys"].update_one(still, {"$set": {"state": KeyState.DECRYPT_ONLY.value}}))
            if retired[-1]:
                data["org_keys"].insert_one(successor)

        self._handles.organization(scope).all_or_nothing(write)
        return retired[-1]

    def _reseal_all(self, scope: OrganizationScope, version: int) -> tuple[int, int]:
        """Seal all values under this key again; how many were, and how many do not open."""
        rows = list(self._sealed_under(scope, version))
        moved, failed = 0, Counter[tuple[Part, str]]()
        for start in range(0, len(rows), _AT_ONCE):
            values = [(row, self._open(row)) for row in rows[start : start + _AT_ONCE]]
            opened = [(row, value) for row, value in values if value is not None]
            failed.update(row.resource for row, value in values if value is None)
            moved += len(opened)

            def write(data: OrganizationData, key: DataKey, opened: list[tuple[_Sealed, str]] = opened) -> None:
                for row, value in opened:
                    row.replace(data, self._cipher.seal(key, row.record, value))

            if opened:
                self._keys.write_sealed(scope, write)
        for (part, resource_id), count in failed.items():
            self._trail.append(scope, unreadable(part, resource_id, OPERATOR, count=count))
        return moved, failed.total()

    def _open(self, row: "_Sealed") -> str | None:
        try:
            return self._cipher.open(row.record, row.sealed)
        except IntegrityError as error:
            log.error("vault.value_unreadable", collection=row.collection, error=error.message)
            return None

    def _sealed_under(self, scope: OrganizationScope, version: int) -> "Iterator[_Sealed]":
        data = self._handles.organization(scope)
        for row in data["secrets"].find({"dek_version": version}):
            record = SecretRecord(scope.internal_id, row["_id"], row["name"], row["version"])
            yield _Sealed("secrets", row["_id"], "", record, SealedValue.of(row))
        for row in data["secret_versions"].find({"dek_version": version}):
            record = SecretRecord(scope.internal_id, row["secret_id"], row["name"], row["version"])
            yield _Sealed("secret_versions", row["_id"], "", record, SealedValue.of(row))
        for row in data["webhooks"].find({"secret.dek_version": version}):
            record = secret_record(scope.internal_id, row["_id"])
            yield _Sealed("webhooks", row["_id"], "secret.", record, SealedValue.of(row["secret"]))
        for row in data["webhooks"].find({f"{SEALED}.dek_version": version}):
            record = headers_record(scope.internal_id, row["_id"])
            yield _Sealed("webhooks", row["_id"], f"{SEALED}.", record, SealedValue.of(row[SEALED]))

    def _destroy_if_unused(self, scope: OrganizationScope, version: int) -> bool:
        # nothing new comes under a retired key: what seals a value marks the active one in the same transaction
        if next(self._sealed_under(scope, version), None) is not None:
            return False
        retired = {"_id": key_id(scope, version), "state": KeyState.DECRYPT_ONLY.value}
        destroyed = self._handles.organization(scope)["org_keys"].update_one(retired, _DESTROY)
        self._keys.forget(scope, version)
        return destroyed

    def destroy_all(self, scope: OrganizationScope) -> int:
        """Destroy all keys of an organization, and keep it from ever getting another. Not to be undone."""
        keys = self._handles.organization(scope)["org_keys"]
        tombstone = {"_id": key_id(scope, 1), "version": 1, "state": KeyState.DESTROYED.value, "created_at": now()}
        with suppress(DuplicateKeyError):
            keys.insert_one(tombstone)
        versions: list[int] = []

        def write(data: OrganizationData) -> None:
            # read inside: a rotation that makes another key meanwhile collides with this
            versions[:] = [row["version"] for row in data["org_keys"].find({"version": {"$gte": 1}}, {"version": 1})]
            for version in versions:
                data["org_keys"].update_one({"_id": key_id(scope, version)}, _DESTROY)

        self._handles.organization(scope).all_or_nothing(write)
        for version in versions:
            self._keys.forget(scope, version)
        return len(versions)

    def states(self) -> list[dict[str, Any]]:
        """How many data keys there are by key-encryption key and state, over all organizations."""
        by = {"_id": {"kek_id": "$kek_id", "state": "$state"}, "keys": {"$sum": 1}}
        found = self._handles.system["org_keys"].aggregate([{"$match": {"kek_id": {"$gt": ""}}}, {"$group": by}])
        rows = [{**row["_id"], "keys": row["keys"]} for row in found]
        return sorted(rows, key=lambda row: (row["kek_id"], row["state"]))


@dataclass(frozen=True)
class _Sealed:
    """A stored value: where it stands, for which record, and as it was found."""

    collection: str
    document_id: str
    within: str
    """where in the document its fields stand"""
    record: SecretRecord
    sealed: SealedValue

    @property
    def resource(self) -> tuple[Part, str]:
        """What it is, and the id or name by which its organization knows what it belongs to."""
        if self.collection != "webhooks":
            return SECRET, self.record.name
        return WEBHOOK if self.record == secret_record(
            self.record.internal_id, self.document_id
        ) else WEBHOOK_HEADERS, self.document_id

    def replace(self, data: OrganizationData, sealed: SealedValue) -> None:
        """Put another token in its place, unless somebody stored another value meanwhile."""
        found = {"_id": self.document_id, f"{self.within}token": self.sealed.token}
        changed = {f"{self.within}{name}": getattr(sealed, name) for name in ("token", "dek_version", "enc")}
        data[self.collection].update_one(found, {"$set": changed})


_DESTROY = {
    "$set": {"state": KeyState.DESTROYED.value},
    "$unset": {"wrapped": "", "kek_id": ""},
}
"""What makes a key's wrapped form disappear."""
