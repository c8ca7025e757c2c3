"""Types and bounds that several request bodies share."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from core.ids import Prefix

MAX_FREE_BYTES = 256 * 1024
"""Free-form data of one record, as JSON: a MongoDB document holds 16 MiB."""

_UNUSABLE = re.compile(r"[\x00-\x1f\x7f/]")


class Body(BaseModel):
    """A request body. Unknown keys are ignored here; the call names them in its warnings."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


def name_of(prefix: Prefix) -> Callable[[str], str]:
    """A check for names: addressable in a path, and not to be mistaken for an id."""

    def check(name: str) -> str:
        if _UNUSABLE.search(name) or name.startswith(prefix) or name != name.strip():
            raise ValueError(f"use no '/', control characters or outer spaces, and do not start with {prefix!r}")
        return name

    return check


def _bounded(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(orjson.dumps(value)) > MAX_FREE_BYTES:
        raise ValueError(f"at most {MAX_FREE_BYTES} bytes of JSON")
    return value


FreeForm = Annotated[dict[str, Any], AfterValidator(_bounded)]
"""A customer's own JSON object, stored and shown as it is."""
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Description = Annotated[str, StringConstraints(max_length=2000)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""An id or a name that refers to a record."""
