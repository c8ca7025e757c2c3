"""Key-encryption keys from the setting KEYSTAGE_VAULT_KEYS, newest first. Changed by a restart, never here."""

from core.storage.keyring import Keyring
from core.vault.kek import LocalWrapping, Wrapped


class EnvironmentKeys:
    """Wraps data keys with the keys of the settings."""

    provider = "environment"

    def __init__(self, keys: Keyring) -> None:
        self._keys = keys
        self._wrapping = LocalWrapping(self.provider)

    def current_kek_id(self) -> str:
        """The newest key's id."""
        return self._wrapping.kek_id(self._keys)

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key under the newest key."""
        return self._wrapping.wrap(self._keys, key, internal_id, version)

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key. Raises IntegrityError."""
        return self._wrapping.unwrap(self._keys, wrapped, internal_id, version)

    def probe(self) -> None:
        """Nothing to ask: the keys are here."""
