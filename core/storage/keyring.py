"""Reads `<id>:<32 bytes as urlsafe base64>` keys from settings, newest first. Never logs or stores them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from config.forms import ROOT_KEY_BYTES, root_key
from config.refusals import UnusableSettingsError


@dataclass(frozen=True)
class RootKey:
    """One key from the operator's settings."""

    key_id: str
    material: bytes = field(repr=False)


class Keyring:
    """The operator's keys of one purpose. The first is used for new records, the others still open old ones."""

    def __init__(self, purpose: str, configured: Sequence[SecretStr]) -> None:
        """Raises UnusableSettingsError, naming the setting and never the value, when a key has another form."""
        self._purpose = purpose
        self._keys = {key.key_id: key for key in (_parse(purpose, item) for item in configured)}
        if len(self._keys) != len(configured):
            raise UnusableSettingsError(f"{purpose}: two keys have the same id")

    def __iter__(self) -> Iterator[RootKey]:
        return iter(self._keys.values())

    @property
    def newest(self) -> RootKey:
        """The key for new records. Raises UnusableSettingsError when none is configured."""
        for key in self._keys.values():
            return key
        raise UnusableSettingsError(f"{self._purpose} is not set: give at least one key as <id>:<base64 of 32 bytes>")

    def get(self, key_id: str) -> RootKey | None:
        """The key that a record names, or None when it is no longer configured."""
        return self._keys.get(key_id)


def _parse(purpose: str, configured: SecretStr) -> RootKey:
    found = root_key(configured.get_secret_value())
    if found is None:
        raise UnusableSettingsError(f"{purpose}: each key must read <id>:<urlsafe base64 of {ROOT_KEY_BYTES} bytes>")
    return RootKey(*found)
