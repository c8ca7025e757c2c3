"""What a check is and what it finds. Knows no check."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cli.operators.doctor.installation import Installation


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Seen:
    """A check's answer."""

    result: Result
    what: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """One protection, and the line of the security page that asks for it."""

    id: str
    line: str
    look: Callable[[Installation], Seen]


def ok(what: str) -> Seen:
    """All is well."""
    return Seen(Result.OK, what)


def warn(what: str, advice: str) -> Seen:
    """Not as recommended; may be on purpose."""
    return Seen(Result.WARN, what, advice)


def fail(what: str, advice: str) -> Seen:
    """A protection is missing."""
    return Seen(Result.FAIL, what, advice)
