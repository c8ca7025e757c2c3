"""Key-encryption keys from a mounted file, newest first, one `<id>:<32 bytes as urlsafe base64>` a line.

The file is read again when it changes, so that a rotation needs no restart. It is never written here.
"""

import threading
from pathlib import Path

import structlog
from pydantic import SecretStr

from core.backends.backend import Backend
from core.errors import BackendAwayError
from core.storage.keyring import Keyring
from core.vault.kek import LocalWrapping, Wrapped

log = structlog.get_logger(__name__)

_Stamp = tuple[int, int, int]


class FileKeys:
    """Wraps data keys with the keys of a file. Lines that begin with `#` are comments."""

    provider = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wrapping = LocalWrapping(self.provider)
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._keys: Keyring | None = None
        self._trouble: str | None = None
        """what kept the file from being used at the last look"""

    def current_kek_id(self) -> str:
        """The newest key's id."""
        return self._wrapping.kek_id(self._ring())

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key under the newest key."""
        return self._wrapping.wrap(self._ring(), key, internal_id, version)

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key. Raises IntegrityError."""
        return self._wrapping.unwrap(self._ring(), wrapped, internal_id, version)

    def probe(self) -> None:
        """Look at the file."""
        self._ring()

    def _ring(self) -> Keyring:
        """The file's keys; while a changed file cannot be used, those of before. Raises BackendAwayError."""
        with self._lock:
            try:
                stamp = self._stamp_of()
                if stamp != self._stamp:
                    self._keys, self._stamp = self._read(), stamp
                self._trouble = None
            except (OSError, ValueError) as error:
                self._note(str(error) or type(error).__name__)
            if self._keys is None:
                raise BackendAwayError(Backend.KEY_SERVICE, "(the key file) has no key that can be used")
            return self._keys

    def _note(self, trouble: str) -> None:
        """Log what is wrong once, not each time that a key is needed."""
        if trouble != self._trouble:
            log.error("vault.key_file_unusable", error=trouble)
        self._trouble = trouble

    def _stamp_of(self) -> _Stamp:
        # a secret mount swaps a symbolic link: the inode tells, where time and size may be equal
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Keyring:
        lines = [line.strip() for line in self._path.read_text().splitlines()]
        ring = Keyring("the key file", [SecretStr(line) for line in lines if line and not line.startswith("#")])
        _ = ring.newest
        return ring
