"""Takes out of a log line what may not leave the process: keys, passwords, internal ids. It knows shapes, not values.

The last step before a line is written, for our own events, other libraries' records and tracebacks alike.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from structlog.typing import EventDict

MASK = "***"
LONGEST_TEXT = 4_000
"""Characters of one value; a traceback keeps its beginning and its end."""
LONGEST_LINE = 32_000
"""Characters of a whole line."""
_NAMES_REMEMBERED = 4096
_LONGEST_NAME = 256
"""Characters of a name that is remembered: one may come from outside."""
_DEEPEST = 6
_MOST_ITEMS = 100
UNIT_OF_WORK = ("request_id", "organization_id", "namespace_id", "key_id", "job_id")
"""What a line may say about whose work it belongs to. The internal id is not among it."""
_KEPT_IN_A_LONG_LINE = ("event", "level", "timestamp", "process", *UNIT_OF_WORK)

_SHAPES = re.compile(
    r"""
      (?P<head>ks_(?:live|test)_|whsec_|(?<![A-Za-z0-9])sk-|AIza)[A-Za-z0-9_+/=-]{6,}  # keys of ours and of providers
    | (?P<internal>int_)[0-9A-Za-z]{22}                               # the primary key between services
    | (?P<url>://[^\s:@/"']*:)[^\s"']+@                               # the password of a URL, up to its last @
    | (?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}         # an Authorization header
    | (?P<named>(?:password|passwd|secret|token|api[_-]?key|authorization)["']?\s*=\s*["']?)[^\s,;&"'})]+
    | (?P<quoted>(?:password|passwd|secret|token|api[_-]?key|authorization)["']\s*:\s*b?["'])[^"']+
    | (?P<jwt>\beyJ)[\w-]+\.[\w-]+\.[\w-]*                            # a JSON web token
    | (?P<pem>-----BEGIN\ [A-Z ]*PRIVATE\ KEY-----)[^-]*
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MARKS = (
    "ks_", "whsec_", "sk-", "aiza", "int_", "://", "bearer", "basic", "passw", "secret", "token", "api", "authoriz",
    "eyj", "private key",
)  # fmt: skip
"""One of these is in every text that the shapes match; most texts have none, and need no closer look."""
_SECRET_NAME = re.compile(r"password|passwd|secret|token|authorization|api_?key|credential|private_key", re.IGNORECASE)
_ABOUT_A_SECRET = re.compile(r"_(?:id|ids|name|names|file|count|setting)$", re.IGNORECASE)
_OUR_OWN = frozenset({"timestamp", "level", "process"})


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: the event with every value masked that must not be read, and cut where it is too long."""
    return {name: value if name in _OUR_OWN else _clean(name, value, 0) for name, value in event.items()}


def within_line(render: Any) -> Any:
    """A renderer whose lines keep to the longest that a line may be."""

    def rendered(logger: object, method: str, event: EventDict) -> str:
        line: str = render(logger, method, dict(event))
        if len(line) <= LONGEST_LINE:
            return line
        kept = {name: event[name] for name in _KEPT_IN_A_LONG_LINE if name in event}
        return str(render(logger, method, {**kept, "cut_characters": len(line)}))

    return rendered


def redacted(text: str) -> str:
    """The text without what looks like a key, a password or an internal id."""
    lowered = text.lower()
    return _SHAPES.sub(_masked, text) if any(mark in lowered for mark in _MARKS) else text


def _masked(match: re.Match[str]) -> str:
    kind = match.lastgroup
    head = match.group(kind) if kind else ""
    return f"{head}{MASK}@" if kind == "url" else f"{head}{MASK}"


def _clean(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _names_a_secret(name):
        return MASK
    if isinstance(value, str):
        return _short(redacted(value))
    if isinstance(value, Mapping) and depth < _DEEPEST:
        items = list(value.items())[:_MOST_ITEMS]
        return {redacted(str(key)): _clean(str(key), inner, depth + 1) for key, inner in items}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
        return [_clean(name, inner, depth + 1) for inner in list(value)[:_MOST_ITEMS]]
    # whatever it is, the renderer would write its repr
    return _short(redacted(str(value)))


def _names_a_secret(name: str) -> bool:
    return _remembered(name) if len(name) <= _LONGEST_NAME else _remembered.__wrapped__(name)


@lru_cache(maxsize=_NAMES_REMEMBERED)
def _remembered(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _ABOUT_A_SECRET.search(name)


def _short(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]} … {len(text) - LONGEST_TEXT} characters left out … {text[-half:]}"
