"""Takes known values out of text and nested JSON, in the forms in which they come back. Pure; knows no secret by name.

Exact matches only: the value itself, its base64 wherever it starts in the encoded bytes, its URL-encoded, its
JSON-escaped and its repr forms. Which characters are escaped, and how, differs from one writer to the next, so each
character that anybody escapes is looked for in each of its ways. One compiled alternation, so the cost hardly grows
with the number of values.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from core.errors import KeystageError

MASK = "[redacted]"

_PERCENT = re.compile(r"%[0-9A-F]{2}")
_NEVER_ESCAPED = re.compile(r"[A-Za-z0-9._-]")
_PIECES = re.compile(r"\\+|[^\\]", re.DOTALL)
_LONGEST_ESCAPED = 4096
"""Characters of a value beyond which only the usual writers' forms are looked for: a pattern takes time to make."""
_LONGEST_IN_LINES = 512
"""The same for base64 in lines, whose patterns are six times as long as the value."""
_NUMERIC = re.compile(r"[-+.0-9eE]+")
_BITS_OF_PREFIX = {0: 0, 1: 2, 2: 3}
"""Base64 characters that also depend on the 0, 1 or 2 bytes before a value in the same group of three."""


class Redactor:
    """Masks the values of one execution."""

    def __init__(self, values: Iterable[str]) -> None:
        known = [value for value in values if value]
        forms = {form for value in known for form in _forms(value)}
        # the longest first: an alternation takes the first that fits
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        patterns = [
            pattern
            for value in known
            if len(value) <= _LONGEST_ESCAPED
            for pattern in (_however_escaped(value), *_base64_in_lines(value))
        ]
        self._pattern = re.compile("|".join([*patterns, *map(re.escape, ordered)])) if ordered else None
        self._numeric = any(_NUMERIC.fullmatch(form) for form in forms)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing that it could mask."""
        return self._pattern is None

    def error(self, error: Exception) -> Exception:
        """What may leave in the error's place, to be raised `from None`: one of ours itself, its texts masked.

        Of any other error, which may hold anything, its kind and its text.
        """
        if not isinstance(error, KeystageError):
            return RuntimeError(self.text(f"{type(error).__name__}: {error}"))
        error.message = self.text(error.message)
        error.details = self.json(dict(error.details))
        error.args = (error.message,)
        error.__traceback__ = None
        return error

    def text(self, text: str) -> str:
        """The text without the values."""
        if self._pattern is None or not self._pattern.search(text):
            return text
        clean = self._pattern.sub(MASK, text)
        while self._pattern.search(clean):
            # a mask and what stands beside it made up a value: take that away altogether
            clean = self._pattern.sub("", clean)
        return clean

    def json(self, value: Any) -> Any:
        """The same for a JSON-like structure: texts, names of fields, and numbers that are a value's digits."""
        if self._pattern is None:
            return value
        return self._walk(value)

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self._walk(name): self._walk(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._walk(item) for item in value)
        if isinstance(value, bytes):
            # latin-1 keeps every byte as it is
            return self.text(value.decode("latin-1")).encode("latin-1")
        if self._numeric and isinstance(value, int | float) and not isinstance(value, bool):
            shown = str(value)
            clean = self.text(shown)
            return value if clean == shown else clean
        return value


def _forms(value: str) -> Iterator[str]:
    """The forms in which a value is looked for."""
    yield value
    yield from _json_forms(value)
    yield from _repr_forms(value)
    yield from _url_forms(value)
    yield from _base64_forms(value.encode("utf-8", "surrogatepass"))


def _however_escaped(value: str) -> str:
    """A pattern for the value, in which each character may be escaped as in JSON, in a URL, in HTML, or not at all.

    Backslashes are the same wherever they come from, so there is one place for each row of them, and bounded: no text
    is tried in more than a few ways.
    """
    pattern, after_a_row = [], False
    for piece in _PIECES.findall(value):
        is_row = piece.startswith("\\")
        pattern.append(_row(len(piece)) if is_row else _escapes(piece, after_a_row))
        after_a_row = is_row
    return "".join(pattern)


def _row(times: int) -> str:
    """So many backslashes, and those that escape them or what comes next."""
    most = (times + 1) * _MOST_BACKSLASHES
    return rf"(?:\\{{{times},{most}}}|(?i:%5c|&#92;|&#x5c;){{{times}}})"


def _escapes(character: str, after_a_row: bool) -> str:
    if _NEVER_ESCAPED.fullmatch(character):
        return re.escape(character)
    before, escape = ("", "") if after_a_row else (rf"\\{{0,{_MOST_BACKSLASHES}}}", rf"\\{{1,{_MOST_BACKSLASHES}}}")
    units = character.encode("utf-16-be", "surrogatepass").hex()
    numbers = [f"u{units[at : at + 4]}" for at in range(0, len(units), 4)]
    ways = [
        "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass")),
        escape + rf"\\{{1,{_MOST_BACKSLASHES}}}".join(numbers),
        f"&#{ord(character)};",
        f"&#x{ord(character):x};",
        *(escape + letter for letter in _LETTERS.get(character, "")),
        *_MORE_WAYS.get(character, ()),
    ]
    return f"(?:{before}{re.escape(character)}|(?i:{'|'.join(ways)}))"


_MOST_BACKSLASHES = 8
"""Before one character: it is doubled by each JSON text that stands in another one."""
_LETTERS = {"\n": "n", "\r": "r", "\t": "t"}
_MORE_WAYS = {" ": (r"\+",), "&": ("&amp;",), "<": ("&lt;",), ">": ("&gt;",), '"': ("&quot;",), "'": ("&apos;",)}
"""Ways that single characters have besides."""


def _json_forms(value: str) -> Iterator[str]:
    for ensure_ascii in (True, False):
        escaped = json.dumps(value, ensure_ascii=ensure_ascii)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
        # as it stands in JSON that was put into JSON as a text
        yield json.dumps(escaped, ensure_ascii=ensure_ascii)[1:-1]


def _repr_forms(value: str) -> Iterator[str]:
    """As exceptions show it: Python's own escapes, of a text and of bytes."""
    for shown in (repr(value)[1:-1], repr(value.encode("utf-8", "surrogatepass"))[2:-1]):
        yield shown
        # whether a quote is escaped depends on what else stands in the text
        bare = shown.replace("\\'", "'")
        yield bare
        yield bare.replace("'", "\\'")


def _url_forms(value: str) -> Iterator[str]:
    for encoded in (quote(value, safe="", errors="replace"), quote(value, errors="replace")):
        yield encoded
        yield _PERCENT.sub(lambda match: match.group().lower(), encoded)
    plus = quote_plus(value, errors="replace")
    yield plus
    yield _PERCENT.sub(lambda match: match.group().lower(), plus)


def _base64_in_lines(value: str) -> Iterator[str]:
    """Patterns for base64 that is broken into lines, as mail and many tools write it, wherever its lines end."""
    if len(value) > _LONGEST_IN_LINES:
        return
    for form in set(_base64_forms(value.encode("utf-8", "surrogatepass"))):
        if len(form) > _SHORTEST_LINE:
            yield _LINE_END.join(map(re.escape, form))


_SHORTEST_LINE = 40
"""Characters; 64 and 76 are usual, and a value may begin in the middle of one."""
_LINE_END = rf"(?:[\r\n]|\\{{1,{_MOST_BACKSLASHES}}}[rn]){{0,4}}"


def _base64_forms(content: bytes) -> Iterator[str]:
    """The characters that depend on the value alone, at each of the three places where it can begin."""
    for before, shared in _BITS_OF_PREFIX.items():
        whole = (before + len(content)) * 8 // 6
        encoded = base64.b64encode(bytes(before) + content).decode()[shared:whole]
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")
