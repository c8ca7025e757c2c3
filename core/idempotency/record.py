"""What an Idempotency-Key can come to, and the fingerprint that ties it to one request. Pure values."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

KEPT_HEADERS = ("Location", "Preference-Applied")
"""Response headers that a replay repeats."""
MAX_BODY_BYTES = 256 * 1024
"""A larger answer is not kept; the same key makes it again from the same records."""


@dataclass(frozen=True)
class SavedResponse:
    """An answer as it was given."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claimed:
    """Go ahead. Ids taken from `operation_id` are the same at each try."""

    operation_id: str


@dataclass(frozen=True)
class Replay:
    """Done before: give this answer again."""

    response: SavedResponse


@dataclass(frozen=True)
class InProgress:
    """Another request with this key is being handled."""


@dataclass(frozen=True)
class Mismatch:
    """The key was used for another request."""


Claim = Claimed | Replay | InProgress | Mismatch


@dataclass(frozen=True)
class UsedKey:
    """An Idempotency-Key where it is used: the same text in another namespace or on another path is another key."""

    key: str
    route: str
    path: str
    namespace_id: str | None

    def record_id(self, internal_id: str) -> str:
        """The one record of an organization for it."""
        return _digest(internal_id, self.namespace_id or "", self.route, self.path, self.key).hex()


def request_digest(query: str, body: bytes, allowed: str = "") -> bytes:
    """SHA-256 over all that makes two requests with one key the same. Never stored: a short secret could be guessed.

    `allowed` says what the caller may do: an answer is given again only to those to whom it would be given now.
    """
    return _digest(query, body, allowed)


def _digest(*parts: str | bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, bytes) else part.encode()
        # its length goes first: where one part ends is a part of what is said
        digest.update(len(text).to_bytes(8, "big"))
        digest.update(text)
    return digest.digest()
