"""The key service as intake and the dispatcher reach it: one that is known to be away is not waited for.

It wraps nothing itself.
"""

from collections.abc import Callable

from core.vault.kek import KeyEncryption, KeyEncryptionBehind, Wrapped


class WatchedKeyEncryption(KeyEncryptionBehind):
    """A key service behind a question, asked before each call, which raises BackendAwayError when it is away.

    It is probed whatever is known of it: this is how it is found to be back.
    """

    def __init__(self, service: KeyEncryption, require: Callable[[], None]) -> None:
        super().__init__(service)
        self._require = require

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Unless it is away."""
        self._require()
        return super().wrap(key, internal_id, version)

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """Unless it is away."""
        self._require()
        return super().unwrap(wrapped, internal_id, version)
