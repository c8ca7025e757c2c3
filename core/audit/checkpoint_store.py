"""Checkpoints in their two places: the database, and the object storage, where the operator can lock them.

The database comes first, where a unique index lets one writer win; a crash before the second write is made good by
`complete`. Nothing here changes or deletes a checkpoint.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import orjson
from pymongo.errors import DuplicateKeyError

from core.audit.checkpoint import ARCHIVE, Checkpoint, archive_of
from core.errors import NotFoundError
from core.storage.blobs import BlobStore
from core.storage.handles import Handles
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope

_PAGE = 1000
_MAX_BYTES = 4096


class CheckpointStore:
    """The checkpoints of every organization."""

    def __init__(self, handles: Handles, blobs: BlobStore) -> None:
        self._handles = handles
        self._blobs = blobs

    def write(self, scope: OrganizationScope, checkpoint: Checkpoint) -> bool:
        """Store a new checkpoint in both places; False when another one has its number."""
        document = {"_id": f"{checkpoint.organization_id}/{checkpoint.number}", **asdict(checkpoint)}
        try:
            self._handles.organization(scope)["audit_checkpoints"].insert_one(document)
        except DuplicateKeyError:
            return False
        self._archive(checkpoint)
        return True

    def complete(self, checkpoint: Checkpoint) -> bool:
        """Store a checkpoint in the object storage if a crash left it out there; whether it did."""
        try:
            self._blobs.get(checkpoint.blob_key, _MAX_BYTES)
        except NotFoundError:
            self._archive(checkpoint)
            return True
        return False

    def in_database(self, scope: OrganizationScope) -> Iterator[Document]:
        """The fields of each checkpoint in the database, in order."""
        after = 0
        checkpoints = self._handles.organization(scope)["audit_checkpoints"]
        full = True
        while full:
            found = list(checkpoints.find({"number": {"$gt": after, "$lte": after + _PAGE}}).sort("number", 1))
            yield from found
            full = len(found) == _PAGE
            after += _PAGE

    def count(self, scope: OrganizationScope) -> int:
        """How many checkpoints the database has."""
        return self._handles.organization(scope)["audit_checkpoints"].count({})

    def in_archive(self, organization_id: str) -> Iterator[dict[str, Any]]:
        """The fields of each checkpoint in the object storage; none for one that cannot be read."""
        for key in self._blobs.list_keys(archive_of(organization_id)):
            try:
                fields = orjson.loads(self._blobs.get(key, _MAX_BYTES))
            except orjson.JSONDecodeError:
                fields = None
            yield fields if isinstance(fields, dict) and _stands_in_place(fields, key) else {}

    def archived_organizations(self) -> list[str]:
        """The public ids of the organizations that have checkpoints in the object storage."""
        return self._blobs.list_folders(ARCHIVE)

    def _archive(self, checkpoint: Checkpoint) -> None:
        self._blobs.put(checkpoint.blob_key, orjson.dumps(asdict(checkpoint)))


def _stands_in_place(fields: dict[str, Any], key: str) -> bool:
    return "_id" not in fields and key == f"{archive_of(str(fields.get('organization_id')))}{fields.get('seq')}.json"
