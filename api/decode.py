"""The one decoder for what strangers send, bodies and queries: strict, bounded, and never the cause of a 500."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from core.errors import FieldProblem, InvalidRequestError, UnsupportedMediaError, ValidationFailedError
from core.plain_values import INT64, whole

MAX_DEPTH = 32
MAX_KEY_CHARACTERS = 256
# possessive: a text of 16 MiB must not leave a way back for each of its characters
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


@dataclass(frozen=True)
class BodyLimits:
    """What differs between routes."""

    values: int = 100_000
    """objects, arrays and plain values"""
    text_bytes: int = 256 * 1024
    """of one text, in UTF-8"""


USUAL = BodyLimits()
_PARAMETER = re.compile(r'\s*(?:charset\s*=\s*"?(?P<charset>[^\s";]+)|(?:[^;"]|"[^"]*")+)', re.IGNORECASE)
"""Of a media type. JSON knows none: what says something else than the charset is for others."""
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_SEPARATORS = (b",", b"[", b"{")
"""Each of them stands for a value of its own."""


def decode_body(
    content_type: str | None, content_encoding: str | None, body: bytes, limits: BodyLimits = USUAL
) -> dict[str, Any]:
    """A request body as an object. No body at all counts as `{}`, with or without a content type.

    Raises UnsupportedMediaError, InvalidRequestError for what is not strict JSON, and ValidationFailedError, with the
    place, for JSON that may not be stored.
    """
    if not body:
        return {}
    _require_json(content_type, content_encoding)
    _require_few(body, limits)
    value = _parse(body)
    if not isinstance(value, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    _check(value, limits)
    return value


def decode_query(query: str) -> Mapping[str, str]:
    """A query's parameters, of a query as it came. Raises InvalidRequestError for one that is no UTF-8, and
    ValidationFailedError, with its name, for a parameter that comes twice or that no store may see."""
    try:
        pairs = parse_qsl(query.encode("latin-1").decode(), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise InvalidRequestError("The query is not percent-encoded UTF-8.") from error
    parameters: dict[str, str] = {}
    for name, text in pairs:
        if name in parameters:
            # whichever of the two counted, somebody who checked the other would be deceived
            raise ValidationFailedError([FieldProblem((name,), "stands twice in the query: send it once")])
        _check_text(text, (name,), USUAL.text_bytes)
        parameters[name] = text
    return parameters


def _require_json(content_type: str | None, content_encoding: str | None) -> None:
    media, _, parameters = (content_type or "").partition(";")
    charsets = [found["charset"].lower() for found in _PARAMETER.finditer(parameters) if found["charset"]]
    if media.strip().lower() != "application/json" or not _UTF8.issuperset(charsets):
        raise UnsupportedMediaError("Send the body as application/json in UTF-8.")
    if (content_encoding or "identity").lower() != "identity":
        raise UnsupportedMediaError("Send the body without a Content-Encoding.")


def _require_few(body: bytes, limits: BodyLimits) -> None:
    """Raises InvalidRequestError for what has too many values, before they take thirty times the body's memory."""
    if max(map(body.count, _SEPARATORS)) > limits.values:
        # most of them may stand in texts
        bare = _TEXTS.sub(b"", body)
        if max(map(bare.count, _SEPARATORS)) > limits.values:
            raise _too_many(limits)


def _too_many(limits: BodyLimits) -> InvalidRequestError:
    return InvalidRequestError(f"The body has more than {limits.values} values.")


def _parse(body: bytes) -> object:
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_int64,
            parse_float=_finite,
        )
    except InvalidRequestError:
        raise
    except RecursionError as error:
        raise InvalidRequestError(f"The body is nested deeper than {MAX_DEPTH} levels.") from error
    except ValueError as error:
        raise InvalidRequestError("The body is not valid JSON in UTF-8.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise InvalidRequestError("The body has an object with the same key twice.")
    return result


def _refuse_constant(_: str) -> NoReturn:
    raise InvalidRequestError("The body has NaN or Infinity, which JSON does not know.")


def _int64(text: str) -> int:
    value = whole(text)
    if not -INT64 <= value < INT64:
        raise InvalidRequestError("The body has an integer of more than 64 bits.")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidRequestError("The body has a number that is too large.")
    return value


def _check(root: Mapping[str, Any], limits: BodyLimits) -> None:
    """Walk without recursion: bounds, strings that UTF-8 cannot hold, and keys that a store would misread."""
    pending: list[tuple[object, int, tuple[str | int, ...]]] = [(root, 1, ())]
    values = 0
    while pending:
        value, depth, place = pending.pop()
        values += 1
        if isinstance(value, str):
            _check_text(value, place, limits.text_bytes)
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise InvalidRequestError(f"The body is nested deeper than {MAX_DEPTH} levels.")
            if values + len(pending) + len(value) > limits.values:
                raise _too_many(limits)
            if isinstance(value, dict):
                for key in value:
                    _check_key(key, place)
            items = value.items() if isinstance(value, dict) else enumerate(value)
            pending.extend((item, depth + 1, (*place, name)) for name, item in items)


def _check_text(text: str, place: tuple[str | int, ...], most: int) -> None:
    if "\x00" in text:
        raise ValidationFailedError([FieldProblem(place, "must not contain the character U+0000")])
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        problem = FieldProblem(place, "must not contain half of a surrogate pair")
        raise ValidationFailedError([problem]) from None
    if size > most:
        raise ValidationFailedError([FieldProblem(place, f"must not exceed {most} bytes of UTF-8")])


def _check_key(key: str, place: tuple[str | int, ...]) -> None:
    _check_text(key, place, USUAL.text_bytes)
    if not key or key.startswith("$") or "." in key or len(key) > MAX_KEY_CHARACTERS:
        problem = FieldProblem(
            (*place, key[:64]),
            f"a key must not be empty, start with '$', contain '.' or exceed {MAX_KEY_CHARACTERS} characters",
        )
        raise ValidationFailedError([problem])
