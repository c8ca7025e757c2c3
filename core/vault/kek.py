"""What wraps data keys: one interface over every place where a key-encryption key can live. It never stores a key.

A wrapped key is bound to its organization and version: handed to another one, it does not open.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.backends.backend import Backend
from core.errors import BackendAwayError, IntegrityError
from core.storage.keyring import Keyring, RootKey

KEY_BYTES = 32
"""Bytes of a data key."""
_PURPOSE = "ks-kek-v1"
_NONCE_BYTES = 12


@dataclass(frozen=True)
class Wrapped:
    """A data key that nobody can read without the key-encryption key."""

    kek_id: str
    """`<provider>:<its own name of the key>`"""
    blob: bytes


class KeyEncryption(Protocol):
    """Wraps and unwraps data keys. Safe to use from several threads.

    Raises IntegrityError for what does not open, BackendAwayError when the provider does not answer, refuses us, or
    answers what nobody can read, and UnavailableError when it is busy.
    """

    @property
    def provider(self) -> str:
        """What its ids begin with."""

    def current_kek_id(self) -> str:
        """The id of the key that `wrap` uses now."""

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt a data key for one organization and version."""

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """The data key that was wrapped for this organization and version."""

    def probe(self) -> None:
        """Find out whether it works, at next to no cost. Raises what the others raise."""


class KeyEncryptionBehind:
    """Hands everything on to another one. Those that stand before one change what is theirs to change."""

    def __init__(self, behind: KeyEncryption) -> None:
        self._behind = behind

    @property
    def provider(self) -> str:
        """The other's."""
        return self._behind.provider

    def current_kek_id(self) -> str:
        """The other's."""
        return self._behind.current_kek_id()

    def wrap(self, key: bytes, internal_id: str, version: int) -> Wrapped:
        """By the other."""
        return self._behind.wrap(key, internal_id, version)

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """By the other."""
        return self._behind.unwrap(wrapped, internal_id, version)

    def probe(self) -> None:
        """The other."""
        self._behind.probe()


class MovingKeyEncryption(KeyEncryptionBehind):
    """Two providers while one replaces the other: the new one wraps, either one opens what is its own.

    The new one is probed. The previous one may be gone already, or may open and no longer wrap: who needs it finds out.
    """

    def __init__(self, current: KeyEncryption, previous: KeyEncryption) -> None:
        super().__init__(current)
        self._previous = previous

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """With the provider that wrapped it."""
        is_current = wrapped.kek_id.startswith(f"{self.provider}:")
        return (self._behind if is_current else self._previous).unwrap(wrapped, internal_id, version)


class LocalWrapping:
    """Wraps with keys that this process holds: AES-256-GCM, organization and version as associated data."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def kek_id(self, keys: Keyring) -> str:
        """The id of the newest key."""
        return f"{self._provider}:{keys.newest.key_id}"

    def wrap(self, keys: Keyring, key: bytes, internal_id: str, version: int) -> Wrapped:
        """Encrypt under the newest key."""
        kek_id, nonce = self.kek_id(keys), secrets.token_bytes(_NONCE_BYTES)
        bound = binding(internal_id, version, kek_id)
        return Wrapped(kek_id, nonce + _cipher(keys.newest).encrypt(nonce, key, bound))

    def unwrap(self, keys: Keyring, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """Decrypt with the key that the id names. Raises IntegrityError."""
        provider, _, key_id = wrapped.kek_id.partition(":")
        root = keys.get(key_id) if provider == self._provider else None
        if root is None:
            raise IntegrityError(f"the key-encryption key {wrapped.kek_id!r} is not configured")
        nonce, sealed = wrapped.blob[:_NONCE_BYTES], wrapped.blob[_NONCE_BYTES:]
        try:
            return _cipher(root).decrypt(nonce, sealed, binding(internal_id, version, wrapped.kek_id))
        except (InvalidTag, ValueError) as error:
            # of one that was cut there may not be enough to try
            raise not_its_own() from error


def binding(internal_id: str, version: int, *more: str) -> bytes:
    """What a wrapped key is bound to, as bytes that read in one way only."""
    parts = [part.encode() for part in (_PURPOSE, internal_id, str(version), *more)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def not_its_own() -> IntegrityError:
    """The error for a blob that was wrapped for another organization, version or key, or was changed."""
    return IntegrityError("the wrapped data key does not belong to this organization and version")


@contextmanager
def reading(provider: str) -> Iterator[None]:
    """Around what takes an answer of a provider apart, and nothing else: what is not there, or is something else, is
    BackendAwayError. A request is put together before, so that a fault of ours stays one."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError):
        # the answer, which such an error repeats, may hold a key
        did = f"({provider}) gave an answer that cannot be read"
        raise BackendAwayError(Backend.KEY_SERVICE, did) from None


def unwrapped(content: bytes) -> bytes:
    """A data key that a provider gave. Raises ValueError for anything else, such as the nothing of an empty answer."""
    if len(content) != KEY_BYTES:
        raise ValueError(f"a data key has {KEY_BYTES} bytes")
    return content


def _cipher(root: RootKey) -> AESGCM:
    # a key of its own for this purpose, whatever else the operator's key is used for
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE.encode()).derive(root.material)
    return AESGCM(derived)
