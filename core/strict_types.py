"""What bodies of requests and parameters of stages share: how strictly a value has to be of its type. Pure."""

from typing import Annotated, Final

from pydantic import BeforeValidator, ConfigDict

STRICT: Final = ConfigDict(frozen=True, strict=True, extra="ignore")
"""No number is read from a text or from true, and no text from a number. Unknown keys are named by `unknown_keys`."""


def _without_a_point(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


POINT_ALLOWED: Final = BeforeValidator(_without_a_point)
"""For whole numbers, behind their bounds: JSON makes no difference between 2 and 2.0."""
Whole = Annotated[int, POINT_ALLOWED]
"""A whole number, with its bounds in the field that has it."""
