"""Data keys: one active key for each organization, stored wrapped, unwrapped in memory for a short time, never logged.

A value is stored together with a mark on the key that sealed it, in one transaction: a rotation that retires the key
meets that mark, so no value is left behind under a key that is about to be destroyed.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.clock import now
from core.errors import ConflictError, UnavailableError
from core.storage.handles import Handles, OrganizationData
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope
from core.vault.cipher import DataKey
from core.vault.kek import KEY_BYTES, KeyEncryption, Wrapped

_KEPT_AT_MOST = 10_000
_TRIES = 5
"""Looks at the active key before a write gives up: each further one means a rotation came between."""


class KeyState(StrEnum):
    """Where a data key is in its life."""

    ACTIVE = "active"
    """seals new values; one for each organization"""
    DECRYPT_ONLY = "decrypt_only"
    """opens what was sealed before, until all of that is sealed again"""
    DESTROYED = "destroyed"
    """its wrapped form is gone: whatever it sealed is noise"""


class DataKeys:
    """The data keys of all organizations. Safe to use from several threads."""

    def __init__(self, handles: Handles, kek: KeyEncryption, kept_seconds: float) -> None:
        self._handles = handles
        self._kek = kek
        self._kept_seconds = kept_seconds
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], tuple[float, DataKey]] = OrderedDict()
        """the oldest first, so that what nobody asks for again does not stay in memory"""

    def find(self, internal_id: str, version: int) -> DataKey | None:
        """A key that is not destroyed. Raises IntegrityError for a forged one, UnavailableError."""
        if kept := self._remembered(internal_id, version):
            return kept
        scope = OrganizationScope(internal_id)
        row = self._handles.organization(scope)["org_keys"].find_one({"_id": key_id(scope, version)})
        if row is None or row["state"] == KeyState.DESTROYED:
            return None
        return self._unwrapped(row)

    def write_sealed(self, scope: OrganizationScope, write: Callable[[OrganizationData, DataKey], None]) -> None:
        """Store what `write` seals under the key it is given, in one transaction. `write` may be called again.

        Raises ConflictError when the organization's keys were destroyed, UnavailableError.
        """
        for _ in range(_TRIES):
            if self._wrote(scope, self.active(scope), write):
                return
        raise UnavailableError("The organization's data key keeps changing; try again.")

    def active(self, scope: OrganizationScope) -> DataKey:
        """The key for new values; made when the organization has none yet. Raises ConflictError when it may not."""
        for _ in range(_TRIES):
            row = self._handles.organization(scope)["org_keys"].find_one({"state": KeyState.ACTIVE.value})
            if row is not None:
                return self._remembered(scope.internal_id, row["version"]) or self._unwrapped(row)
            self._make_first(scope)
        raise UnavailableError("The organization's data key keeps changing; try again.")

    def new_key(self, scope: OrganizationScope, version: int) -> Document:
        """The record of a fresh active key, not stored yet."""
        wrapped = self._kek.wrap(secrets.token_bytes(KEY_BYTES), scope.internal_id, version)
        return {
            "_id": key_id(scope, version),
            "version": version,
            "state": KeyState.ACTIVE.value,
            **wrapped_fields(wrapped),
            "writes": 0,
            "created_at": now(),
        }

    def forget(self, scope: OrganizationScope, version: int) -> None:
        """Drop a key from this process's memory."""
        with self._lock:
            self._kept.pop((scope.internal_id, version), None)

    def _make_first(self, scope: OrganizationScope) -> None:
        keys = self._handles.organization(scope)["org_keys"]
        states = {row["state"] for row in keys.find({"version": {"$gte": 1}}, {"state": 1})}
        if KeyState.ACTIVE in states:
            return
        if states:
            # an organization that has keys gets its next one by rotation alone; a deleted one never again
            raise ConflictError("The organization's data keys were destroyed: nothing can be sealed for it.")
        try:
            keys.insert_one(self.new_key(scope, 1))
        except DuplicateKeyError:
            # another process made it between our look and our insert
            return

    def _wrote(
        self, scope: OrganizationScope, key: DataKey, write: Callable[[OrganizationData, DataKey], None]
    ) -> bool:
        """False when the key was retired before the write."""
        marked: list[bool] = []

        def mark_and_write(data: OrganizationData) -> None:
            still = {"_id": key_id(scope, key.version), "state": KeyState.ACTIVE.value}
            marked.append(data["org_keys"].update_one(still, {"$inc": {"writes": 1}}))
            if marked[-1]:
                write(data, key)

        self._handles.organization(scope).all_or_nothing(mark_and_write)
        return marked[-1]

    def _remembered(self, internal_id: str, version: int) -> DataKey | None:
        with self._lock:
            until, kept = self._kept.get((internal_id, version), (0.0, None))
        return kept if until > time.monotonic() else None

    def _unwrapped(self, row: Mapping[str, Any]) -> DataKey:
        internal_id, version = row["internal_id"], row["version"]
        return self._keep(DataKey(internal_id, version, self._kek.unwrap(wrapped_of(row), internal_id, version)))

    def _keep(self, key: DataKey) -> DataKey:
        moment, name = time.monotonic(), (key.internal_id, key.version)
        with self._lock:
            self._kept.pop(name, None)
            while self._kept and (next(iter(self._kept.values()))[0] <= moment or len(self._kept) >= _KEPT_AT_MOST):
                self._kept.popitem(last=False)
            self._kept[name] = (moment + self._kept_seconds, key)
        return key


def key_id(scope: OrganizationScope, version: int) -> str:
    """The id under which a key is stored."""
    return f"{scope.internal_id}.{version}"


def wrapped_of(row: Mapping[str, Any]) -> Wrapped:
    """The wrapped key of a stored record."""
    return Wrapped(row["kek_id"], bytes(row["wrapped"]))


def wrapped_fields(wrapped: Wrapped) -> dict[str, Any]:
    """A wrapped key as it is stored."""
    return {"kek_id": wrapped.kek_id, "wrapped": wrapped.blob}
