"""The base classes of bodies, queries and answers, and the types and bounds that several of them share."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    RootModel,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from core.ids import Prefix
from core.invisible import CONTROL, JOINERS, UNSEEN
from core.strict_types import STRICT
from core.tenancy.user import EMAIL_PATTERN

MAX_FREE_BYTES = 256 * 1024
"""Free-form data of one record, as JSON: a MongoDB document holds 16 MiB."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_UNREADABLE = f"{CONTROL}{UNSEEN}"
_UNUSABLE = re.compile(rf"[/{_UNREADABLE}]|^[{JOINERS}]|[\u200c\u200d]$")
"""In a name. A joiner may stand behind what it shapes."""
_LOST_PLUS = re.compile(r"[Tt ]\d\d:.* \d\d:?(\d\d)?$", re.ASCII)
"""Of an offset, in a query that was not percent-encoded."""
_NAME_IN_PATH = r"(?!\.\.?(/|$))[^/\\\x00-\x1f\x7f]+"
_PATH = re.compile(
    # nor may a dot, a slash, a backslash or a control character be hidden from whoever looks before it is decoded
    rf"^(?!.*%(2[eEfF]|5[cC]|[01][0-9a-fA-F]|7[fF]))/?({_NAME_IN_PATH}(/{_NAME_IN_PATH})*/?)?$"
)
DOTS = frozenset({".", ".."})
"""What whoever sends a path takes out of it, together with what stands before it."""


class Body(BaseModel):
    """A request body. Unknown keys are ignored here; the call names them in its warnings."""

    model_config = STRICT | ConfigDict(use_attribute_docstrings=True)


class Query(BaseModel):
    """Query parameters, which are all text. Unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class View(BaseModel):
    """A part of an answer. It lists every field that may leave; one that was never set is not sent."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


class Answer(View):
    """A whole answer."""

    warnings: list[str] = Field(default_factory=list)
    """What of the request was ignored or did not count; absent when nothing was."""


class Document(RootModel[dict[str, Any]]):
    """A JSON document of a form that is described elsewhere."""


@dataclass(frozen=True)
class WholeNumber:
    """Reads a query parameter that is a whole number in decimal digits, and says so in the schema."""

    lowest: int
    highest: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        bounded = core_schema.int_schema(ge=self.lowest, le=self.highest)
        return core_schema.no_info_before_validator_function(self._read, bounded)

    def _read(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        # Python would read 1_0, +10 and " 10 " too
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
        if not self.lowest <= number <= self.highest:
            bounds = {"lowest": self.lowest, "highest": self.highest}
            raise PydanticCustomError("value_error", "must be a whole number from {lowest} to {highest}", bounds)
        return number


def usable_name(name: str) -> str:
    """The name of something that is found by it in a path. Raises ValueError for one that nobody could type."""
    if _UNUSABLE.search(name) or name in DOTS:
        raise ValueError("use no '/', control or invisible characters, and not '.' or '..'")
    return name


def name_of(prefix: Prefix) -> Callable[[str], str]:
    """A check for names: addressable in a path, and not to be mistaken for an id."""

    def check(name: str) -> str:
        if name.startswith(prefix) or name != name.strip():
            raise ValueError(f"use no outer spaces, and do not start with {prefix.value!r}")
        return usable_name(name)

    return check


def name_pattern(prefix: Prefix) -> dict[str, Any]:
    """What `name_of` accepts, as the schema says it."""
    inner, last = rf"[^/{_UNREADABLE}]", rf"[^\s/{_UNREADABLE}\u200c\u200d]"
    return {"pattern": rf"^(?!{prefix.value})(?!\.\.?$)(?![\s{JOINERS}]){inner}*{last}$"}


USABLE_NAME: Final = {"pattern": rf"^(?!\.\.?$)(?![{JOINERS}])[^/{_UNREADABLE}]*[^/{_UNREADABLE}\u200c\u200d]$"}
"""What `usable_name` accepts, as the schema says it."""


def _is_path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError("use names with one '/' between them: no '.' or '..', no backslash, no control characters")
    return text


def _bounded(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(orjson.dumps(value)) > MAX_FREE_BYTES:
        raise ValueError(f"at most {MAX_FREE_BYTES} bytes of JSON")
    return value


def _written_out(value: object) -> object:
    # pydantic would take a number for seconds since 1970
    if not isinstance(value, str) or not _DATE.match(value):
        raise PydanticCustomError("value_error", "must be a time such as 2026-01-31T12:00:00Z")
    if _LOST_PLUS.search(value):
        raise PydanticCustomError("value_error", "an offset begins with + or -: in a query, + is written %2B")
    return value


def _to_utc(moment: datetime) -> datetime:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time from the year 1 to the year 9999 in UTC") from None


Moment = Annotated[datetime, Field(strict=False), BeforeValidator(_written_out), AfterValidator(_to_utc)]
"""A time of RFC 3339; in UTC when it names no zone."""
PathPrefix = Annotated[
    str,
    StringConstraints(max_length=500),
    AfterValidator(_is_path),
    Field(json_schema_extra={"pattern": _PATH.pattern}),
]
"""Names with `/` between them, such as `reports/2026`."""
FreeForm = Annotated[dict[str, Any], AfterValidator(_bounded)]
"""A customer's own JSON object, stored and shown as it is."""
Number = int | float
"""A number that is sent as it was computed: whole without a point."""
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Description = Annotated[str, StringConstraints(max_length=2000)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""An id or a name that refers to a record."""
Email = Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=EMAIL_PATTERN)]
"""An address that can stand in a path; whether mail arrives there is not known."""
