"""Object storage through one library: a local folder, S3 or GCS. It knows keys and bytes, never what they mean."""

from collections.abc import Iterator, Sequence

from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as MissingKeyError
from obstore.store import LocalStore, ObjectStore, from_url

from core.errors import NotFoundError, PayloadTooLargeError, UnavailableError

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
"""The largest blob that is read unless the caller says otherwise."""


class BlobStore:
    """Bytes under keys. Safe to use from several threads."""

    def __init__(self, url: str) -> None:
        """Open `file://…` (its folder is created), `s3://…` or `gs://…`; credentials come from the machine's role."""
        self._store: ObjectStore = LocalStore.from_url(url, mkdir=True) if url.startswith("file://") else from_url(url)

    def put(self, key: str, data: bytes) -> None:
        """Store `data`, replacing what was there. Raises UnavailableError."""
        try:
            self._store.put(key, data)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def get(self, key: str, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
        """The whole blob. Raises NotFoundError, PayloadTooLargeError over `max_bytes`, UnavailableError."""
        try:
            found = self._store.get(key)
            if found.meta["size"] > max_bytes:
                raise PayloadTooLargeError(f"The object has more than {max_bytes} bytes.")
            return bytes(found.bytes())
        except (MissingKeyError, FileNotFoundError):
            raise NotFoundError("The stored content was not found.") from None
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def list_keys(self, folder: str) -> Iterator[str]:
        """The keys below a folder, whose name ends with `/`. Raises UnavailableError."""
        try:
            for found in self._store.list(folder):
                yield from (item["path"] for item in found)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def list_folders(self, folder: str) -> list[str]:
        """The names of the folders right below a folder, whose name ends with `/`. Raises UnavailableError."""
        try:
            found = self._store.list_with_delimiter(folder)["common_prefixes"]
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    def delete(self, key: str) -> None:
        """Remove the blob; an absent one is fine. Raises UnavailableError."""
        try:
            self._store.delete(key)
        except (MissingKeyError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def delete_many(self, keys: Sequence[str]) -> None:
        """Remove these blobs; absent ones are fine. Raises UnavailableError."""
        try:
            self._store.delete(keys)
        except (MissingKeyError, FileNotFoundError):
            # one of them was removed meanwhile, and the library may have left the others
            for key in keys:
                self.delete(key)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> UnavailableError:
    return UnavailableError(f"Object storage does not answer: {type(error).__name__}")
