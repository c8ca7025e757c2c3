"""The values of an endpoint's own headers: sealed together, as its signing secret is, and opened to be sent alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from core.egress.target import hidden_in
from core.vault.cipher import Cipher, DataKey, SealedValue, SecretRecord
from core.vault.secret import MIN_VALUE_CHARACTERS

SEALED: Final = "sealed_headers"
"""The field of a stored endpoint that holds them; their names stand beside it."""
IN_CLEAR: Final = "headers"
"""Where earlier versions stored them as they are."""
_NAMES = "header_names"


def headers_record(internal_id: str, webhook_id: str) -> SecretRecord:
    """The record for which an endpoint's headers are sealed."""
    return SecretRecord(internal_id, webhook_id, IN_CLEAR)


def header_fields(cipher: Cipher, key: DataKey, webhook_id: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """What is stored of an endpoint's headers."""
    if not headers:
        return no_headers()
    sealed = cipher.seal(key, headers_record(key.internal_id, webhook_id), orjson.dumps(dict(headers)).decode())
    return {_NAMES: list(headers), SEALED: asdict(sealed)}


def no_headers() -> dict[str, Any]:
    """What is stored of an endpoint that has none."""
    return {_NAMES: [], SEALED: None}


def header_names(endpoint: Mapping[str, Any]) -> Sequence[str]:
    """The names of a stored endpoint's headers."""
    return list(endpoint.get(IN_CLEAR) or endpoint.get(_NAMES, ()))


def open_headers(cipher: Cipher, internal_id: str, endpoint: Mapping[str, Any]) -> dict[str, str]:
    """The headers of an organization's stored endpoint. Raises IntegrityError, UnavailableError."""
    if IN_CLEAR in endpoint:
        return dict(endpoint[IN_CLEAR])
    if endpoint.get(SEALED) is None:
        return {}
    record = headers_record(internal_id, endpoint["_id"])
    opened: dict[str, str] = orjson.loads(cipher.open(record, SealedValue.of(endpoint[SEALED])))
    return opened


def credentials_in(headers: Mapping[str, str], url: str = "") -> tuple[str, ...]:
    """What must not be shown of an answer that repeats its request: each header's value, what stands behind its first
    word, and what is not shown of the URL.

    Shorter ones could not be taken out without taking innocent text along.
    """
    values = {part for value in headers.values() for part in (value.strip(), value.strip().partition(" ")[2])}
    values |= set(hidden_in(url))
    return tuple(sorted(value for value in values if len(value) >= MIN_VALUE_CHARACTERS))
