"""Idempotency records in MongoDB: claim a key, save its answer, or let it go. It never handles a request itself.

A key's record is found by its `_id`, made of organization, namespace, route, path and key: a fresh claim is one insert
and a finished one is one update. An operation id survives every take-over: the records that a crashed request left are
found again.
"""

import hashlib
import hmac
from datetime import datetime, timedelta

from bson.binary import Binary
from pymongo.errors import DuplicateKeyError

from core.clock import DatabaseClock
from core.idempotency.record import (
    KEPT_HEADERS,
    MAX_BODY_BYTES,
    Claim,
    Claimed,
    InProgress,
    Mismatch,
    Replay,
    SavedResponse,
    UsedKey,
)
from core.ids import Prefix, random_id
from core.storage.handles import Handles, ScopedCollection
from core.storage.keyring import Keyring, RootKey
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope

LEASE = timedelta(seconds=10)
"""After this long a silent request counts as dead. Taking over too early does no harm: the ids are the same."""
_KEPT = timedelta(hours=48)

_RUNNING = "running"
_DONE = "done"


class IdempotencyStore:
    """The Idempotency-Keys of all organizations."""

    def __init__(self, handles: Handles, clock: DatabaseClock, keys: Keyring) -> None:
        """`keys` seal fingerprints: a body may hold a secret that a bare hash would let somebody guess."""
        self._handles = handles
        self._clock = clock
        self._keys = keys

    def claim(self, scope: OrganizationScope, key: UsedKey, digest: bytes) -> Claim:
        """Whether this request, by its `request_digest`, is the first with its key, a repetition, or another one."""
        moment, operation_id = self._clock.now(), random_id(Prefix.OPERATION)
        record = {
            "_id": _id_of(scope, key),
            "fingerprint": _fingerprint(self._keys.newest, digest),
            "fingerprint_key": self._keys.newest.key_id,
            "state": _RUNNING,
            "op_id": operation_id,
            "lease_until": moment + LEASE,
            "expires_at": moment + _KEPT,
        }
        try:
            self._records(scope).insert_one(record)
        except DuplicateKeyError:
            return self._claim_again(scope, record, moment, digest)
        return Claimed(operation_id)

    def save(self, scope: OrganizationScope, key: UsedKey, response: SavedResponse) -> bool:
        """Keep the answer for repetitions. False when it is too large to keep; let the key go then."""
        if len(response.body) > MAX_BODY_BYTES:
            return False
        return self._records(scope).update_one(
            {"_id": _id_of(scope, key), "state": _RUNNING},
            {
                "$set": {
                    "state": _DONE,
                    "status": response.status,
                    "body": Binary(response.body),
                    "headers": {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers},
                }
            },
        )

    def let_go(self, scope: OrganizationScope, key: UsedKey) -> None:
        """End the lease at once: the next request with this key goes on with the same operation."""
        self._records(scope).update_one(
            {"_id": _id_of(scope, key), "state": _RUNNING}, {"$set": {"lease_until": self._clock.now()}}
        )

    def forget(self, scope: OrganizationScope, key: UsedKey) -> None:
        """Nothing happened under this key: it is free for any request."""
        self._records(scope).delete_one({"_id": _id_of(scope, key), "state": _RUNNING})

    def _claim_again(self, scope: OrganizationScope, record: Document, moment: datetime, digest: bytes) -> Claim:
        """The key has a record: replay it, wait for it, or take it over when its request is dead."""
        standing = self._records(scope).find_one({"_id": record["_id"]})
        if standing is None:
            # its owner let it go between our insert and our read
            return InProgress()
        if standing["expires_at"] <= moment:
            return self._reuse(scope, record, moment)
        if not self._same(standing, digest):
            return Mismatch()
        if standing["state"] == _DONE:
            return Replay(SavedResponse(standing["status"], bytes(standing["body"]), standing["headers"]))
        taken = self._records(scope).update_one(
            {"_id": record["_id"], "state": _RUNNING, "lease_until": {"$lte": moment}},
            {"$set": {"lease_until": record["lease_until"]}},
        )
        return Claimed(standing["op_id"]) if taken else InProgress()

    def _same(self, standing: Document, digest: bytes) -> bool:
        # sealed under the key of its time: a rotation does not make a repetition another request
        key = self._keys.get(standing["fingerprint_key"])
        return key is not None and hmac.compare_digest(standing["fingerprint"], _fingerprint(key, digest))

    def _reuse(self, scope: OrganizationScope, record: Document, moment: datetime) -> Claim:
        """Start over under a key whose time is up; MongoDB's own deletion lags about a minute."""
        fields = {name: value for name, value in record.items() if name != "_id"}
        taken = self._records(scope).update_one(
            {"_id": record["_id"], "expires_at": {"$lte": moment}}, {"$set": fields}
        )
        return Claimed(record["op_id"]) if taken else InProgress()

    def _records(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["idempotency"]


def _fingerprint(key: RootKey, digest: bytes) -> str:
    return hmac.new(key.material, digest, hashlib.sha256).hexdigest()


def _id_of(scope: OrganizationScope, key: UsedKey) -> str:
    return key.record_id(scope.internal_id)
