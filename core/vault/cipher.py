"""Encrypts one value for exactly one record: the key is derived from who owns it, what it is called and its version.

Fernet has no associated data, so a token copied to another record would decrypt under a shared key. Here another
record has another key (HKDF-SHA256, RFC 5869), and the envelope inside repeats the record's names besides.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import IntegrityError

_PURPOSE = "ks-secret-v1"
_ENCODING = "fernet-hkdf-v1"
"""Named in each stored value, so that another way of encrypting can come later."""


@dataclass(frozen=True)
class SecretRecord:
    """The record that a value belongs to."""

    internal_id: str
    record_id: str
    name: str
    version: int = 1

    def parts(self) -> list[str]:
        """The names that the key and the envelope are bound to."""
        return [self.internal_id, self.record_id, self.name, str(self.version)]


@dataclass(frozen=True)
class DataKey:
    """An organization's key, unwrapped: in memory only, and never shown."""

    internal_id: str
    version: int
    material: bytes = field(repr=False)


@dataclass(frozen=True)
class SealedValue:
    """An encrypted value and the version of its organization's key that opens it."""

    token: str
    dek_version: int
    enc: str = _ENCODING

    @staticmethod
    def of(found: Mapping[str, Any]) -> "SealedValue":
        """Read it from a document that has its three fields."""
        return SealedValue(found["token"], found["dek_version"], found["enc"])


class KeySource(Protocol):
    """Knows organizations' data keys."""

    def find(self, internal_id: str, version: int) -> DataKey | None:
        """The key, or None when there is none or it was destroyed."""


class Cipher:
    """Seals values under a data key, and opens them."""

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys

    def seal(self, key: DataKey, record: SecretRecord, value: str) -> SealedValue:
        """Encrypt `value` for `record` under its organization's key. Raises ValueError for another one's."""
        if key.internal_id != record.internal_id:
            raise ValueError("a value is sealed under the key of its own organization")
        envelope = orjson.dumps({"for": record.parts(), "value": value})
        return SealedValue(_fernet(key, record).encrypt(envelope).decode(), key.version)

    def open(self, record: SecretRecord, sealed: SealedValue) -> str:
        """The value that was sealed for `record`. Raises IntegrityError when it was sealed for another one."""
        if sealed.enc != _ENCODING:
            raise IntegrityError(f"values in the form {sealed.enc!r} cannot be opened by this version")
        key = self._keys.find(record.internal_id, sealed.dek_version)
        if key is None:
            raise IntegrityError(f"there is no data key {sealed.dek_version} that could open this value")
        try:
            envelope = orjson.loads(_fernet(key, record).decrypt(sealed.token.encode()))
        except InvalidToken as error:
            raise IntegrityError("the sealed value does not belong to this record") from error
        if envelope["for"] != record.parts():
            raise IntegrityError("the sealed value does not belong to this record")
        return str(envelope["value"])


def _fernet(key: DataKey, record: SecretRecord) -> Fernet:
    # each part is preceded by its length, so that no two records give the same bytes
    info = b"".join(
        len(part).to_bytes(4, "big") + part for part in (item.encode() for item in [_PURPOSE, *record.parts()])
    )
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key.material)
    return Fernet(base64.urlsafe_b64encode(derived))
