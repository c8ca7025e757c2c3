"""How values are written on the wire: JSON with RFC 3339 times in UTC."""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel

from core.outgoing import to_json


def content_of(body: BaseModel | bytes | None) -> bytes:
    """The bytes of an answer; none when it has no body."""
    if body is None or isinstance(body, bytes):
        return body or b""
    return encode(body)


def encode(body: BaseModel | Mapping[str, Any]) -> bytes:
    """A response body as bytes. Of a model only the fields that were set are sent."""
    # pydantic writes nothing itself, so that a time looks the same wherever it stands
    plain = body.model_dump(exclude_unset=True) if isinstance(body, BaseModel) else body
    return to_json(plain, orjson.OPT_NON_STR_KEYS)
