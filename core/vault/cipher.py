"""Encrypts one value for exactly one record: the key is derived from who owns it, what it is called and its version.

Fernet has no associated data, so a token copied to another record would decrypt under a shared key. Here another
record has another key (HKDF-SHA256, RFC 5869), and the envelope inside repeats the record's names besides.
"""

import base64
from dataclasses import dataclass

import orjson
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import IntegrityError
from core.storage.keyring import Keyring, RootKey

_PURPOSE = "ks-secret-v1"


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
class SealedValue:
    """An encrypted value and the id of the key that opens it."""

    key_id: str
    token: str


class Cipher:
    """Seals and opens values under the operator's key-encryption keys."""

    def __init__(self, keys: Keyring) -> None:
        self._keys = keys

    def seal(self, record: SecretRecord, value: str) -> SealedValue:
        """Encrypt `value` for `record` under the newest key."""
        key = self._keys.newest
        envelope = orjson.dumps({"for": record.parts(), "value": value})
        return SealedValue(key.key_id, _fernet(key, record).encrypt(envelope).decode())

    def open(self, record: SecretRecord, sealed: SealedValue) -> str:
        """The value that was sealed for `record`. Raises IntegrityError when it was sealed for another one."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise IntegrityError(f"the key {sealed.key_id!r} that sealed this value is not configured")
        try:
            envelope = orjson.loads(_fernet(key, record).decrypt(sealed.token.encode()))
        except InvalidToken as error:
            raise IntegrityError("the sealed value does not belong to this record") from error
        if envelope["for"] != record.parts():
            raise IntegrityError("the sealed value does not belong to this record")
        return str(envelope["value"])


def _fernet(key: RootKey, record: SecretRecord) -> Fernet:
    # each part is preceded by its length, so that no two records give the same bytes
    info = b"".join(
        len(part).to_bytes(4, "big") + part for part in (item.encode() for item in [_PURPOSE, *record.parts()])
    )
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key.material)
    return Fernet(base64.urlsafe_b64encode(derived))
