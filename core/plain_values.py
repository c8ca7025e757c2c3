"""Values from outside that become part of a document: what no store or wire can hold is mended, or refused. Pure."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from core.errors import StageError

MOST_DEPTH = 64
"""Levels of one value: a document around it has a few more, and a database takes a hundred."""
INT64: Final = 2**63
"""Whole numbers are below it, and not below what it is with a minus."""
_INT64_DIGITS = 20
_REFERENCE = frozenset({"$ref", "$id"})


def parsed(text: str | bytes) -> Any:
    """The JSON value that a text is, NaN and Infinity refused. Raises ValueError for what is none, or is too deep.

    A number that is too large is there as infinity or as more than 64 bits, for `plain` to refuse with that reason.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=whole)
    except RecursionError:
        raise ValueError("nested too deep") from None


def parsed_or_none(text: str) -> Any:
    """The same, and None for what is no JSON."""
    try:
        return parsed(text)
    except ValueError:
        return None


def json_text(content: bytes) -> str:
    """The text of an answer in JSON, which is UTF-8 whatever a header calls it, but for byte order marks.

    Bytes that are none are replaced.
    """
    return content.decode(json.detect_encoding(content), "replace")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def whole(digits: str) -> int:
    """A whole number; for one that is far too large another one that is."""
    # Python refuses to read thousands of digits, as if they were no number
    return int(digits) if len(digits) <= _INT64_DIGITS else INT64


def plain_text(text: str) -> str:
    """The text with halves of surrogate pairs put together, and a mark in place of those that stand alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def plain(value: Any, depth: int = 0) -> Any:
    """A JSON value with such texts. Raises StageError for what cannot be kept, without repeating it."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, int) and not -INT64 <= value < INT64:
        raise StageError("a number has more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        # what writes JSON would make null of it
        raise StageError("a number is larger than a double holds")
    if not isinstance(value, Mapping | list):
        return value
    if depth == MOST_DEPTH:
        raise StageError(f"it is nested deeper than {MOST_DEPTH} levels")
    if isinstance(value, list):
        return [plain(part, depth + 1) for part in value]
    if any("\x00" in name for name in value):
        raise StageError("a field's name has the character U+0000")
    if value.keys() >= _REFERENCE:
        raise StageError("an object has $ref and $id, which a database reads as a reference of its own")
    return {plain_text(name): plain(part, depth + 1) for name, part in value.items()}
