"""Object storage through one library: a local folder, S3 or GCS. It knows keys and bytes, never what they mean.

Each request is bounded; what a place that is away does is told apart from what it says (`docs/backends.md`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as MissingKeyError

from core.errors import BackendAwayError, NotFoundError, PayloadTooLargeError, UnavailableError
from core.storage.object_stores import failure_of, open_stores

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
"""The largest blob that is read unless the caller says otherwise."""
_SMALL_BYTES = 256 * 1024
"""What is no more than this is sent in one piece, within the short bound."""
_PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 takes."""
_PARTS_AT_ONCE = 2
"""Few, so that on a slow link each gets through in its time."""
_PROBED = "health/probe"
_MISSING = (MissingKeyError, FileNotFoundError)


class BlobStore:
    """Bytes under keys. Safe to use from several threads. Every method raises UnavailableError, and of its kind
    BackendAwayError when the place does not answer."""

    def __init__(self, url: str) -> None:
        """Open `file://…` (its folder is created), `s3://…` or `gs://…`; credentials come from the machine's role."""
        self._stores = open_stores(url)
        self._is_local = url.startswith("file://")

    def put(self, key: str, data: bytes) -> None:
        """Store `data`, replacing what was there."""
        store = self._stores.asks if len(data) <= _SMALL_BYTES else self._stores.uploads
        with _failures():
            store.put(key, data, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    def get(self, key: str, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
        """The whole blob. Raises NotFoundError, and PayloadTooLargeError over `max_bytes`."""
        with _failures():
            try:
                found = self._stores.reads.get(key)
                if found.meta["size"] > max_bytes:
                    raise PayloadTooLargeError(f"The object has more than {max_bytes} bytes.")
                return bytes(found.bytes())
            except _MISSING:
                raise NotFoundError("The stored content was not found.") from None

    def list_keys(self, folder: str) -> Iterator[str]:
        """The keys below a folder, whose name ends with `/`."""
        with _failures():
            for found in self._stores.reads.list(folder):
                yield from (item["path"] for item in found)

    def list_folders(self, folder: str) -> list[str]:
        """The names of the folders right below a folder, whose name ends with `/`."""
        with _failures():
            found = self._stores.reads.list_with_delimiter(folder)["common_prefixes"]
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    def delete(self, key: str) -> None:
        """Remove the blob; an absent one is fine."""
        with _failures():
            try:
                self._stores.asks.delete(key)
            except _MISSING:
                return

    def delete_many(self, keys: Sequence[str]) -> None:
        """Remove these blobs; absent ones are fine."""
        with _failures():
            try:
                self._stores.reads.delete(keys)
            except _MISSING:
                # one of them was removed meanwhile, and the library may have left the others
                for key in keys:
                    self.delete(key)

    def probe(self) -> None:
        """Ask the place for next to nothing; a local folder takes an empty file. Raises BackendAwayError, and for a
        local folder UnavailableError; a refusal is an answer."""
        if self._is_local:
            self.put(_PROBED, b"")
            return
        try:
            with _failures():
                self._stores.asks.head(_PROBED)
        except BackendAwayError:
            raise
        except UnavailableError:
            return


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        raise failure_of(error) from error
