"""PDF to text, page by page. What the reader of PDFs remarks on is kept; a page that is damaged leaves the others."""

import io
import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from pipelines.extractors.reading_outcome import Reading, Remark, Text, Unreadable

if TYPE_CHECKING:
    from pypdf import PdfReader

_MOST_PAGES = 5000
_MOST_CHARACTERS = 64 * 1024 * 1024
_MOST_REMARKS = 10
_PAGES_NAMED = 10
_MOST_MESSAGE = 200
_END = b"\nstartxref\n0\n%%EOF\n"
_NUMBER = re.compile(r"\d+")

log = structlog.get_logger(__name__)


def read_pdf(content: bytes) -> Reading:
    """The text of all pages. Raises what the reader of PDFs raises for bytes that are none."""
    from pypdf.errors import FileNotDecryptedError

    with _complaints() as complaints:
        try:
            reader = _opened(content)
            # many PDFs are encrypted for their owner only, and open without a password
            if reader.is_encrypted and not reader.decrypt(""):
                return Unreadable("encrypted_pdf", "The PDF needs a password.")
            if len(reader.pages) > _MOST_PAGES:
                return Unreadable("too_large", f"The PDF has more than {_MOST_PAGES} pages.")
            found = _pages(reader)
        except FileNotDecryptedError:
            return Unreadable("encrypted_pdf", "The PDF needs a password.")
    if isinstance(found, Unreadable):
        return found
    damage = [Remark("pdf_damaged", message, count) for message, count in complaints.most_common(_MOST_REMARKS)]
    return Text(found.content, remarks=(*found.remarks, *damage))


def _opened(content: bytes) -> "PdfReader":
    """The PDF; also one that lost its last lines, as transfers cut them off: its objects say where they are."""
    import pypdf
    from pypdf.errors import PdfReadError

    try:
        return pypdf.PdfReader(io.BytesIO(content))
    except PdfReadError:
        log.info("extraction.pdf_without_end")
    return pypdf.PdfReader(io.BytesIO(content + _END))


def _pages(reader: "PdfReader") -> Reading:
    texts: list[str] = []
    damaged: list[int] = []
    length = 0
    for number in range(len(reader.pages)):
        try:
            text = reader.pages[number].extract_text()
        except MemoryError:
            raise
        except Exception as error:
            # whatever it raises, the fault is in this page
            log.info("extraction.page_unreadable", page=number + 1, error=f"{type(error).__name__}: {error}")
            damaged.append(number + 1)
            continue
        texts.append(text)
        length += len(text)
        if length > _MOST_CHARACTERS:
            return Unreadable("too_large", f"The PDF has more than {_MOST_CHARACTERS} characters.")
    if damaged and not texts:
        return Unreadable("unreadable_content", "The PDF is damaged: none of its pages can be read.")
    return Text("\n\n".join(texts), remarks=tuple(_remarks(texts, damaged)))


def _remarks(texts: list[str], damaged: list[int]) -> Iterator[Remark]:
    if damaged:
        named = ", ".join(map(str, damaged[:_PAGES_NAMED])) + (", …" if len(damaged) > _PAGES_NAMED else "")
        yield Remark("unreadable_pages", f"Damaged, and not read: page {named}.", len(damaged), lost=True)
    empty = sum(not text.strip() for text in texts)
    if empty and empty < len(texts):
        yield Remark("empty_pages", f"{empty} of {len(texts)} pages have no text; a scanned page has none.", empty)


@contextmanager
def _complaints() -> Iterator[Counter[str]]:
    """What pypdf logs while the block runs in this thread, and how often; numbers apart, like counts as like."""
    found: Counter[str] = Counter()
    shown: dict[str, str] = {}
    thread = threading.get_ident()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                message = record.getMessage()[:_MOST_MESSAGE]
                like = _NUMBER.sub("", message)
                if like in shown or len(shown) < 10 * _MOST_REMARKS:
                    found[shown.setdefault(like, message)] += 1

    handler = Keep(logging.WARNING)
    logger = logging.getLogger("pypdf")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
