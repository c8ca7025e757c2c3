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


def request_digest(
    method: str, path: str, query: str, body: bytes, namespace_id: str | None, allowed: str = ""
) -> bytes:
    """SHA-256 over all that makes two requests the same. Never stored: a short secret could be guessed from it.

    `allowed` says what the caller may do: an answer is given again only to those to whom it would be given now.
    """
    digest = hashlib.sha256()
    for part in (method.encode(), path.encode(), query.encode(), (namespace_id or "").encode(), body, allowed.encode()):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
