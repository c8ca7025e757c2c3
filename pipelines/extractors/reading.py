"""Bytes to text: plain texts, Markdown, HTML and PDF. A content that cannot be read is a value, never an exception."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

import structlog

from core.files.decoding import declared_in, decode
from core.files.kinds import (
    HTML,
    PDF,
    READABLE,
    XHTML,
    binary_kind,
    declared_charset,
    evident_text,
    is_json,
    is_readable,
    is_text,
    is_unsaid,
    media_type,
)
from core.plain_values import plain_text
from pipelines.extractors.html import read_html
from pipelines.extractors.pdf import read_pdf
from pipelines.extractors.reading_outcome import Reading, Remark, Text, Unreadable

log = structlog.get_logger(__name__)

_CONTROLS: Final = "".join(map(chr, [*range(1, 8), *range(0x0E, 0x1A), *range(0x1C, 0x20), 0x7F]))
"""Characters that texts do not use: neither blanks and line ends, nor backspace, escape and the mark of DOS's end."""
_FEW_CONTROLS = 8
_CONTROLS_IN_TEXTS = 1 / 50
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_HTML_TYPES = frozenset({HTML, XHTML})
_MARKDOWN_TYPES = frozenset({"text/markdown", "text/x-markdown"})


def read_text(content: bytes, content_type: str) -> Reading:
    """The text of a blob, by its content type (`type/subtype; charset=…`), and by its bytes where that says nothing."""
    kind = "" if is_unsaid(content_type) else media_type(content_type)
    if found := binary_kind(content):
        if found.content_type == PDF and (kind == PDF or is_text(kind) or is_unsaid(kind)):
            return _finished(_converted("PDF", read_pdf, content))
        if is_readable(kind):
            message = f"The content is {found.name}, not {'a PDF' if kind == PDF else 'a text'}: {_CAN_BE_READ}"
            return Unreadable("unsupported_content", message)
    if kind == PDF:
        return _finished(_converted("PDF", read_pdf, content))
    if not is_readable(kind):
        return Unreadable("unsupported_content", f"{kind} is not a content that text can be taken from: {_CAN_BE_READ}")
    return _finished(_read_text(content, kind, content_type))


_CAN_BE_READ = f"{READABLE} can be read."


def _read_text(content: bytes, kind: str, content_type: str) -> Reading:
    """The text of what is no binary format, decoded, by its kind."""
    said_html = kind in _HTML_TYPES or not kind
    decoded = decode(content, [*declared_charset(content_type), *declared_in(content, said_html)])
    # what NUL stands for has no text, and nothing could index or show it
    text = plain_text(decoded.text.replace("\x00", ""))
    if _is_binary(text):
        return Unreadable("binary_content", f"The content is binary, not text: {_CAN_BE_READ}")
    kind = kind or evident_text(text)
    if kind in _HTML_TYPES:
        read = _converted("HTML", partial(read_html, is_xhtml=kind == XHTML), text)
    elif is_json(kind):
        read = Text(_ESCAPE.sub(_unescaped, text))
    else:
        read = Text(text, is_markdown=kind in _MARKDOWN_TYPES)
    remarks: tuple[Remark, ...] = ()
    if decoded.is_guess:
        message = "The text is not UTF-8 and declares no encoding that fits: it was read as windows-1252."
        remarks = (Remark("encoding_guessed", message),)
    elif decoded.is_damaged:
        message = f"Some bytes of the text are not {decoded.encoding}: each was read by itself."
        remarks = (Remark("encoding_damaged", message),)
    return replace(read, remarks=remarks + read.remarks) if isinstance(read, Text) else read


def _is_binary(text: str) -> bool:
    controls = sum(map(text.count, _CONTROLS))
    return controls > _FEW_CONTROLS and controls > len(text) * _CONTROLS_IN_TEXTS


def _unescaped(escape: re.Match[str]) -> str:
    """A character that JSON wrote by its number, as it is found and shown; not one that would change the JSON."""
    character = chr(int(escape[1], 16)) if escape[1] else ""
    return character if character > "~" else escape[0]


def _finished(reading: Reading) -> Reading:
    """A text as it is stored: halves of surrogate pairs joined, no NUL, no blanks round it."""
    if isinstance(reading, Unreadable):
        return reading
    return replace(reading, content=plain_text(reading.content.replace("\x00", "")).strip())


_Content = TypeVar("_Content", bytes, str)


def _converted(kind: str, convert: Callable[[_Content], Reading], content: _Content) -> Reading:
    """What a converter makes of a customer's bytes: whatever it raises, the fault is in those bytes."""
    try:
        return convert(content)
    except MemoryError:
        raise
    except Exception as error:
        log.warning("extraction.unreadable", kind=kind, error=f"{type(error).__name__}: {error}")
        return Unreadable("unreadable_content", f"The {kind} is damaged or not a {kind}.")
