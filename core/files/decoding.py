"""Bytes to text, whatever encoding they are in. It loses no byte, and never raises.

The order of trust is in `docs/files.md`: a byte order mark, valid UTF-8, what is declared, windows-1252.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from core.files.charsets import codec_of

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
_IN_SEVEN_BITS: Final = {
    "iso2022": re.compile(rb"\x1b"),
    "hz": re.compile(rb"~\{"),
    # the number of most scripts' pages stands in every second byte
    "utf-16": re.compile(rb"[\x00-\x07]"),
    "utf-32": re.compile(rb"\x00"),
}
"""Encodings whose bytes are valid UTF-8 too, by the beginning of their names, and the bytes that give them away."""
_LARGER: Final = {"euc_jp": "euc_jis_2004", "big5hkscs": "cp950"}
"""Encodings that have characters of the web's form of one, which Python's form of it lacks."""
_SOUND_FOR_EACH_BROKEN = 4
_HALF_WIDTH = re.compile(rb"[!-~]")
_JIS_ESCAPES = re.compile(rb"\x1b(\$[@B]|\([BJI])")
_DAMAGED = "keystage-windows-1252"
_HIGH: Final = bytes(byte | 0x80 if 0x20 < byte < 0x7F else byte for byte in range(256))
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
    names = [name for name in map(codec_of, declared) if name]
    for name in names:
        if any(name.startswith(prefix) and marks.search(content) for prefix, marks in _IN_SEVEN_BITS.items()):
            return _japanese(content, name) if name.startswith("iso2022_jp") else _forgiving(content, name)
    if (text := _strict(content, "utf-8", "surrogatepass")) is not None:
        return Decoded(text, "utf-8")
    for name in names:
        if name == "windows-1252":
            return Decoded(_windows_1252(content), name)
        if (text := _strict(content, name)) is not None:
            return Decoded(text, name)
    if _is_mostly_utf_8(content):
        return _forgiving(content, "utf-8")
    for name in names:
        if (text := _mostly(content, name)) is not None:
            return Decoded(text, name, is_damaged=True)
    return Decoded(_windows_1252(content), "windows-1252", is_guess=True)


def declared_in(content: bytes, is_html: bool) -> Iterator[str]:
    """The encodings that a document declares of itself, in plain ASCII: in an XML declaration, in HTML's `meta`."""
    start = content[:_LOOKED_AT]
    for pattern in (_XML_DECLARES, _HTML_DECLARES) if is_html else (_XML_DECLARES,):
        if found := pattern.match(start) if pattern is _XML_DECLARES else pattern.search(start):
            name = found[1].decode("ascii", "replace")
            # what could be read as ASCII is in none of these
            if not name.lower().startswith(("utf-16", "utf-32", "ucs-", "unicode", "csunicode", "iso-10646")):
                yield name


def _strict(content: bytes, name: str, errors: str = "strict") -> str | None:
    try:
        return content.decode(name, errors)
    except (UnicodeError, LookupError):
        # a LookupError is what comes for a codec that encodes no texts
        return _strict(content, _LARGER[name]) if name in _LARGER else None


def _mostly(content: bytes, name: str) -> str | None:
    """The text of a file that was cut off, or damaged in a few places: far more of it is sound than broken."""
    try:
        tried = content.decode(name, "replace")
        broken = tried.count("\ufffd")
        sound = len(tried) - len(tried.encode("ascii", "ignore")) - broken
        return content.decode(name, _DAMAGED) if sound > _SOUND_FOR_EACH_BROKEN * broken else None
    except (UnicodeError, LookupError):
        return None


def _japanese(content: bytes, name: str) -> Decoded:
    """ISO-2022-JP; as EUC when it has half-width or circled characters, which mail has and Python's form lacks."""
    if (text := _strict(content, name)) is not None:
        return Decoded(text, name)
    first, *escaped = _JIS_ESCAPES.split(content)
    euc = [first]
    for escape, part in zip(escaped[::2], escaped[1::2], strict=True):
        if escape.startswith(b"$"):
            part = part.translate(_HIGH)
        elif escape == b"(I":
            part = _HALF_WIDTH.sub(b"\x8e\\g<0>", part).translate(_HIGH)
        euc.append(part)
    if (text := _strict(b"".join(euc), "euc_jp")) is not None:
        return Decoded(text, name)
    return _forgiving(content, name)


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
    return _by_its_pages(start)


def _by_its_pages(start: bytes) -> str | None:
    """UTF-16 of another alphabet: every second byte is the number of its page (Greek 3, Cyrillic 4, Hebrew 5, Arabic 6,
    …), or zero. In other texts such bytes are control characters.
    """
    for name, high, low in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        pages = {byte: high.count(byte) for byte in set(high) if byte < 0x10}
        others = sum(map(low.count, range(0x10))) / len(low)
        if len(pages) <= _MOST_PAGES and sum(pages.values()) > 0.9 * len(high) and others < 0.4:
            return name
    return None


_MOST_PAGES = 3
"""Zero among them, for blanks and line ends."""
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
