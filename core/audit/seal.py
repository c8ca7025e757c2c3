"""The seal of a stored record: a MAC over every field it has, in an encoding that reads in one way only. Pure.

Each value is written with its type and its length, so that no two different records give the same bytes, and a
number is never the text that looks like it.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from core.storage.keyring import RootKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Purpose(StrEnum):
    """What a seal is for. One purpose's seal is worth nothing in another's place."""

    ENTRY = "ks-audit-entry-v1"
    HEAD = "ks-audit-head-v1"
    CHANGES = "ks-audit-changes-v1"
    CHECKPOINT = "ks-audit-checkpoint-v1"


def seal(key: RootKey, purpose: Purpose, record: Mapping[str, object]) -> str:
    """The MAC of a record under a key. Raises TypeError for a value of a type that we never store."""
    own_key = hmac.digest(key.material, purpose.encode(), hashlib.sha256)
    return hmac.new(own_key, encode(record), hashlib.sha256).hexdigest()


def is_sealed(key: RootKey, purpose: Purpose, record: Mapping[str, object], mac: object) -> bool:
    """Whether `mac` is the seal of `record`; false, too, for a value of a type that we never store."""
    try:
        return isinstance(mac, str) and hmac.compare_digest(seal(key, purpose, record).encode(), mac.encode())
    except (TypeError, UnicodeEncodeError):
        return False


def encode(value: object) -> bytes:
    """A value as type, length and content. Mappings are ordered by name."""
    kind, content = _content(value)
    return kind + len(content).to_bytes(8, "big") + content


def _content(value: object) -> tuple[bytes, bytes]:
    match value:
        case str():
            return b"s", value.encode()
        case None:
            return b"n", b""
        case bool():
            return b"b", b"1" if value else b"0"
        case int():
            return b"i", str(int(value)).encode()
        case float():
            return b"f", value.hex().encode()
        case datetime():
            return b"t", str((value - _EPOCH) // timedelta(milliseconds=1)).encode()
        case list() | tuple():
            return b"l", b"".join(map(encode, value))
        case Mapping():
            return b"m", b"".join(encode(name) + encode(value[name]) for name in sorted(value, key=str))
        case _:
            raise TypeError(f"a record holds no {type(value).__name__}")
