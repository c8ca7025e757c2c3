"""The API key's shape and its verifier. Never stores or logs a key.

`ks_<live|test>_<12 key id>_<43 secret><6 CRC-32>`, all base62. The checksum refuses a mistyped key without a look
into any store; the verifier is an HMAC-SHA256 under a pepper that the database does not hold.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass, field

from core.ids import base62
from core.storage.keyring import Keyring

_KEY_ID_LENGTH = 12
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_SHAPE = re.compile(
    rf"ks_(live|test)_([0-9A-Za-z]{{{_KEY_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True)
class PresentedKey:
    """A well-formed key that somebody sent."""

    key_id: str
    text: str = field(repr=False)


def new_key_id(seed: str | None = None) -> str:
    """A random key id; the same one again for the same unguessable seed."""
    if seed is None:
        return base62(secrets.randbits(96), _KEY_ID_LENGTH)
    return base62(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big"), _KEY_ID_LENGTH)


def mint_key(environment: str = "live", key_id: str | None = None) -> PresentedKey:
    """A new key with 256 random bits. `environment` is `live` or `test`."""
    key_id = key_id or new_key_id()
    body = f"ks_{environment}_{key_id}_{base62(secrets.randbits(256), _SECRET_LENGTH)}"
    return PresentedKey(key_id, body + _checksum(body))


def parse_key(text: str) -> PresentedKey | None:
    """The key, when its shape and checksum hold."""
    match = _SHAPE.fullmatch(text)
    if match is None or _checksum(text[:-_CHECKSUM_LENGTH]) != match.group(4):
        return None
    return PresentedKey(match.group(2), text)


class KeyVerifier:
    """Makes and checks the stored verifier of a key."""

    def __init__(self, peppers: Keyring) -> None:
        self._peppers = peppers

    def seal(self, key: PresentedKey) -> tuple[str, str]:
        """(pepper id, verifier) for a new key."""
        pepper = self._peppers.newest
        return pepper.key_id, _mac(pepper.material, key)

    def is_newest(self, pepper_id: str) -> bool:
        """Whether new keys are sealed under this pepper."""
        return self._peppers.newest.key_id == pepper_id

    def matches(self, key: PresentedKey, pepper_id: str, verifier: str) -> bool:
        """Whether `key` is the one that was sealed; constant time, also when the pepper is gone."""
        pepper = self._peppers.get(pepper_id)
        material = pepper.material if pepper else bytes(32)
        return hmac.compare_digest(_mac(material, key), verifier) and pepper is not None


def _mac(pepper: bytes, key: PresentedKey) -> str:
    return hmac.new(pepper, key.text.encode(), hashlib.sha256).hexdigest()


def _checksum(body: str) -> str:
    return base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)
