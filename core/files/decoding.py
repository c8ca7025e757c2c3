"""Bytes to text, whatever encoding they are in. It loses no byte, and never raises.

The order of trust is in `docs/files.md`: a byte order mark, valid UTF-8, what is declared, windows-1252.
"""

import codecs
import encodings.aliases
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_LOOKED_AT = 4096
_HTML_DECLARES = re.compile(rb"<meta\b[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:+-]{1,40})", re.IGNORECASE)
_XML_DECLARES = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml\b[^>]{0,200}?encoding\s*=\s*[\"']([\w.+-]{1,40})")

# UTF-32 first: its mark begins with that of UTF-16
_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MEANT: Final = {
    "ascii": "windows-1252",
    "iso8859-1": "windows-1252",
    "cp1252": "windows-1252",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
}
"""Encodings that the web takes for the larger one round them, as browsers do."""
_IN_SEVEN_BITS: Final = {"iso2022": b"\x1b", "hz": b"~{", "utf-16": b"\x00", "utf-32": b"\x00"}
"""Encodings whose bytes are valid UTF-8 too, by the beginning of their names, and the byte that gives them away."""
_KNOWN: Final = frozenset(encodings.aliases.aliases) | frozenset(encodings.aliases.aliases.values())
"""Names that Python may be asked for: it remembers each name for ever, the unknown ones too."""
_MORE_NAMES: Final = {"windows_31j": "cp932", "x_sjis": "cp932", "windows_874": "cp874", "x_mac_roman": "mac-roman"}
_DAMAGED = "keystage-windows-1252"
# where cp1252 leaves a byte undefined, the byte's own number
_WINDOWS_1252: Final = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}


@dataclass(frozen=True)
class Decoded:
    """A text, and how its bytes were understood."""

    text: str
    encoding: str
    is_guess: bool = False
    """whether nothing said so: neither the bytes nor anybody who declared it"""
    is_damaged: bool = False
    """whether some bytes do not belong to the encoding; each of those stands as a character of its own"""


def decode(content: bytes, declared: Sequence[str] = ()) -> Decoded:
    """The text of the bytes; `declared` are names of encodings, the nearest to the bytes first."""
    for mark, encoding in _ORDER_MARKS:
        if content.startswith(mark):
            return _forgiving(content[len(mark) :], encoding)
    # the bytes themselves tell UTF-16 and UTF-32: a wrong order of bytes is declared often
    if by_zeros := _by_its_zeros(content):
        return _forgiving(content, by_zeros)
    names = [name for name in map(_charset, declared) if name]
    for name in names:
        if any(name.startswith(prefix) and mark in content for prefix, mark in _IN_SEVEN_BITS.items()):
            return _forgiving(content, name)
    if (text := _strict(content, "utf-8", "surrogatepass")) is not None:
        return Decoded(text, "utf-8")
    for name in names:
        if name == "windows-1252":
            return Decoded(_windows_1252(content), name)
        if (text := _strict(content, name)) is not None:
            return Decoded(text, name)
    if _is_mostly_utf_8(content):
        return _forgiving(content, "utf-8")
    return Decoded(_windows_1252(content), "windows-1252", is_guess=True)


def declared_in(content: bytes, is_html: bool) -> Iterator[str]:
    """The encodings that a document declares of itself, in plain ASCII: in an XML declaration, in HTML's `meta`."""
    start = content[:_LOOKED_AT]
    for pattern in (_XML_DECLARES, _HTML_DECLARES) if is_html else (_XML_DECLARES,):
        if found := pattern.match(start) if pattern is _XML_DECLARES else pattern.search(start):
            name = found[1].decode("ascii", "replace")
            # what could be read as ASCII is in none of these
            if not name.lower().startswith(("utf-16", "utf-32", "ucs-")):
                yield name


def _charset(name: str) -> str | None:
    """Python's name of an encoding; None for what is none."""
    wanted = encodings.normalize_encoding(name[:50]).lower()
    if wanted not in _KNOWN:
        return _MORE_NAMES.get(wanted)
    try:
        found = codecs.lookup(wanted).name
    except LookupError:
        return None
    return _MEANT.get(found, found)


def _strict(content: bytes, name: str, errors: str = "strict") -> str | None:
    try:
        return content.decode(name, errors)
    except (UnicodeError, LookupError):
        # a LookupError is what comes for a codec that encodes no texts
        return None


def _forgiving(content: bytes, name: str) -> Decoded:
    """The text in an encoding that is certain. Halves of surrogate pairs stay, for who joins them."""
    # without an order of bytes, little-endian is what is met
    name = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(name, name)
    try:
        return Decoded(content.decode(name, "surrogatepass"), name)
    except UnicodeError:
        return Decoded(content.decode(name, _DAMAGED if name == "utf-8" else "replace"), name, is_damaged=True)


def _is_mostly_utf_8(content: bytes) -> bool:
    """Whether UTF-8 tells more characters than there are bytes that it cannot have."""
    valid = content.decode("utf-8", "ignore")
    broken = len(content) - len(valid.encode())
    return len(valid) - len(valid.encode("ascii", "ignore")) > broken


def _windows_1252(content: bytes) -> str:
    return content.decode("latin-1").translate(_WINDOWS_1252)


def _by_its_zeros(content: bytes) -> str | None:
    """UTF-16 or UTF-32 that has no mark: of Latin text, every second byte, or three of four, are zero."""
    start = content[:_LOOKED_AT]
    if len(start) < 4 or b"\x00" not in start:
        return None
    zeros = [start[at::4].count(0) / len(start[at::4]) for at in range(4)]
    for name, pattern in _ZEROS.items():
        if all((share > 0.4 if is_zero else share < 0.1) for share, is_zero in zip(zeros, pattern, strict=True)):
            return name
    return None


_ZEROS: Final = {
    "utf-16-le": (False, True, False, True),
    "utf-16-be": (True, False, True, False),
    "utf-32-le": (False, True, True, True),
    "utf-32-be": (True, True, True, False),
}


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """An error handler: a byte that UTF-8 cannot have there stands for what it is in windows-1252."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _windows_1252(error.object[error.start : error.end]), error.end


codecs.register_error(_DAMAGED, _as_windows_1252)
