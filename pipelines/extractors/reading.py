"""Bytes to text: plain text, Markdown, HTML and PDF. A content that cannot be read is a value, never an exception."""

import codecs
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Final, TypeAlias

import structlog

log = structlog.get_logger(__name__)

_MOST_PAGES = 5000
# lone halves of a surrogate pair cannot be written as UTF-8; NUL cannot be indexed
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Text:
    """What was read, and whether its structure is Markdown."""

    content: str
    is_markdown: bool = False


@dataclass(frozen=True)
class Unreadable:
    """Why nothing was read."""

    code: str
    message: str


Reading: TypeAlias = Text | Unreadable


def read_text(content: bytes, content_type: str) -> Reading:
    """The text of a blob, by its content type (`type/subtype; charset=…`)."""
    header = Message()
    header["content-type"] = content_type
    kind = header.get_content_type()
    reader = _READERS.get(kind, _read_plain if kind.startswith("text/") else None)
    if reader is None:
        return Unreadable("unsupported_content", f"{kind} is not a content that text can be taken from.")
    found = reader(content, header.get_content_charset())
    if isinstance(found, Text):
        return Text(_UNWRITABLE.sub("\ufffd", found.content).strip(), found.is_markdown)
    return found


def can_read(content_type: str) -> bool:
    """Whether `read_text` knows this content type."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _READERS or kind.startswith("text/")


def _decode(content: bytes, charset: str | None) -> str | Unreadable:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            charset = encoding
    try:
        text = content.decode(charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        return Unreadable("undecodable_text", f"The content is not text in {charset or 'utf-8'}.")
    if "\x00" in text:
        return Unreadable("undecodable_text", "The content is binary, not text.")
    return text


def _read_plain(content: bytes, charset: str | None) -> Reading:
    text = _decode(content, charset)
    return Text(text) if isinstance(text, str) else text


def _read_markdown(content: bytes, charset: str | None) -> Reading:
    text = _decode(content, charset)
    return Text(text, is_markdown=True) if isinstance(text, str) else text


def _read_html(content: bytes, charset: str | None) -> Reading:
    import html_to_markdown

    text = _decode(content, charset)
    if isinstance(text, Unreadable):
        return text
    try:
        options = html_to_markdown.ConversionOptions(extract_metadata=False, skip_images=True)
        return Text(html_to_markdown.convert(text, options).content or "", is_markdown=True)
    except Exception as error:
        return _broken("HTML", error)


def _read_pdf(content: bytes, _: str | None) -> Reading:
    import pypdf
    from pypdf.errors import FileNotDecryptedError

    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        # many PDFs are encrypted for their owner only, and open without a password
        if reader.is_encrypted and not reader.decrypt(""):
            return Unreadable("encrypted_pdf", "The PDF needs a password.")
        if len(reader.pages) > _MOST_PAGES:
            return Unreadable("too_large", f"The PDF has more than {_MOST_PAGES} pages.")
        return Text("\n\n".join(page.extract_text() for page in reader.pages))
    except FileNotDecryptedError:
        return Unreadable("encrypted_pdf", "The PDF needs a password.")
    except Exception as error:
        return _broken("PDF", error)


def _broken(kind: str, error: Exception) -> Unreadable:
    """A converter gave up on a customer's bytes: whatever it raises, the fault is in those bytes."""
    log.warning("extraction.unreadable", kind=kind, error=f"{type(error).__name__}: {error}")
    return Unreadable("unreadable_content", f"The {kind} is damaged or not a {kind}.")


_Reader: TypeAlias = Callable[[bytes, str | None], Reading]
_READERS: Final[Mapping[str, _Reader]] = {
    "text/plain": _read_plain,
    "text/markdown": _read_markdown,
    "text/x-markdown": _read_markdown,
    "text/html": _read_html,
    "application/xhtml+xml": _read_html,
    "application/pdf": _read_pdf,
    "application/json": _read_plain,
}
