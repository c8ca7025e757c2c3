"""The key service as intake and the dispatcher reach it: one that is known to be away is not waited for.

It wraps nothing itself.
"""

from collections.abc import Callable

from core.vault.kek import KeyEncryption, Wrapped


class WatchedKeyEncryption:
    """A key service behind a question, asked before each call, which raises BackendAwayError when it is away."""

    def __init__(self, service: KeyEncryption, require: Callable[[], None]) -> None:
        self._service = service
        self._require = require

    @property
    def provider(self) -> str:
        """The service's."""
        return self._service.provider

    def current_kek_id(self) -> str:
        """The service's."""
        return self._service.current_kek_id()

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Unless it is away."""
        self._require()
        return self._service.wrap(key, internal_id, version)

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """Unless it is away."""
        self._require()
        return self._service.unwrap(wrapped, internal_id, version)

    def probe(self) -> None:
        """The service's, whatever is known of it: this is how it is found to be back."""
        self._service.probe()
