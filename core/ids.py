"""Identifiers: a prefix that says the kind, and base62 that cannot be guessed.

A seeded factory repeats its ids, so that a request tried again under one Idempotency-Key names the same records.
"""

import hashlib
import secrets
import uuid
from collections.abc import Callable
from enum import StrEnum

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 22
"""Base62 characters after the prefix: 131 bits."""
_POINT_SPACE = uuid.UUID("6f1c2a4e-5d0b-5e0a-9f43-3b8f3f1f7a10")
"""Namespace of the UUIDv5 point ids of vectors."""


class Prefix(StrEnum):
    """The kind of record an id names."""

    ORGANIZATION = "org_"
    INTERNAL = "int_"
    USER = "usr_"
    KEY = "key_"
    NAMESPACE = "ns_"
    BUCKET = "bkt_"
    OBJECT = "obj_"
    BATCH = "btch_"
    COLLECTION = "col_"
    DOCUMENT = "doc_"
    RETRIEVER = "ret_"
    EXECUTION = "exec_"
    TASK = "task_"
    EVENT = "evt_"
    DELIVERY = "dlv_"
    ATTEMPT = "att_"
    AUDIT = "aud_"
    SECRET = "sec_"  # noqa: S105 - a prefix
    OPERATION = "op_"
    REQUEST = "req_"


def base62(number: int, length: int) -> str:
    """`number` in base62, cut or padded with zeros to `length` characters."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def random_id(prefix: Prefix) -> str:
    """A fresh id that nobody can guess."""
    return prefix + base62(secrets.randbits(160), _LENGTH)


def derived_id(prefix: Prefix, *parts: str | int) -> str:
    """The one id that these parts always give."""
    text = "\x1f".join(str(part) for part in parts)
    return prefix + base62(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"), _LENGTH)


def webhook_id(random_hex: str | None = None) -> str:
    """`wh_` and 16 hexadecimal digits, the shape that published clients check."""
    return "wh_" + (random_hex or secrets.token_hex(8))


def point_id(*parts: str | int) -> str:
    """The UUIDv5 under which a vector is stored: the same parts overwrite the same point."""
    return str(uuid.uuid5(_POINT_SPACE, "\x1f".join(str(part) for part in parts)))


IdSource = Callable[[Prefix], str]
"""Gives the next id of a kind. `random_id` is one."""


class SeededIds:
    """Ids derived from one operation: the n-th id of a kind is the same at each try."""

    def __init__(self, operation_id: str) -> None:
        self._operation_id = operation_id
        self._counts: dict[Prefix, int] = {}

    def __call__(self, prefix: Prefix) -> str:
        count = self._counts.get(prefix, 0)
        self._counts[prefix] = count + 1
        return derived_id(prefix, self._operation_id, count)
