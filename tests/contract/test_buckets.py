"""Buckets on a real database: what is counted is what is there, whoever writes at the same time or dies."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.buckets.bucket import FieldType, NewBlob, NewObject
from core.buckets.store import BucketStore
from core.errors import NotFoundError, PayloadTooLargeError
from core.storage.blobs import BlobStore
from core.storage.handles import Handles
from core.storage.scope import NamespaceScope


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(f"file://{tmp_path}")


@pytest.fixture
def buckets(handles: Handles, blobs: BlobStore, scope: NamespaceScope) -> BucketStore:
    store = BucketStore(handles, blobs)
    store.create(scope, "bkt_1", "papers", properties={})
    return store


def an_object(object_id: str, text: str = "x", extra: str = "") -> NewObject:
    blob = NewBlob("content", FieldType.TEXT, "text/plain", text.encode())
    return NewObject(object_id, (blob,), {"extra": extra} if extra else {})


def counts(buckets: BucketStore, scope: NamespaceScope) -> tuple[int, int]:
    bucket = buckets.get(scope, "bkt_1")
    return bucket.object_count, bucket.total_size_bytes


def test_objects_that_could_not_be_stored_are_not_counted(buckets: BucketStore, scope: NamespaceScope) -> None:
    buckets.add_objects(scope, "bkt_1", [an_object("obj_1", "abc")])
    with pytest.raises(PayloadTooLargeError):
        buckets.add_objects(scope, "bkt_1", [an_object("obj_2"), an_object("obj_3", extra="x" * 17_000_000)])
    assert counts(buckets, scope) == (1, 3)
    with pytest.raises(NotFoundError):
        buckets.get_object(scope, "bkt_1", "obj_2")


def test_of_two_that_remove_an_object_one_is_counted(buckets: BucketStore, scope: NamespaceScope) -> None:
    buckets.add_objects(scope, "bkt_1", [an_object("obj_1"), an_object("obj_2")])

    def remove(_: int) -> bool:
        try:
            buckets.delete_object(scope, "bkt_1", "obj_1")
        except NotFoundError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(remove, range(4))) == 1
    assert counts(buckets, scope) == (1, 1)


def test_of_many_that_store_one_object_id_one_wins_with_its_own_bytes_and_is_counted(
    buckets: BucketStore, blobs: BlobStore, scope: NamespaceScope, tmp_path: Path
) -> None:
    texts = ["x" * length for length in range(1, 9)]
    with ThreadPoolExecutor(len(texts)) as pool:
        answers = list(pool.map(lambda text: buckets.add_objects(scope, "bkt_1", [an_object("obj_1", text)])[0], texts))
    (blob,) = buckets.get_object(scope, "bkt_1", "obj_1").blobs
    assert {answer.blobs[0].sha256 for answer in answers} == {blob.sha256}
    assert hashlib.sha256(blobs.get(blob.blob_key)).hexdigest() == blob.sha256
    assert counts(buckets, scope) == (1, blob.size_bytes)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 1, "the others' bytes are removed"
