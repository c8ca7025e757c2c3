"""What bytes evidently are, whatever was said of them, and which content types a text can be taken from. Pure.

Only marks that no text begins with count as a binary kind. It never looks at more than the beginning of a text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HTML = "text/html"
XHTML = "application/xhtml+xml"
PDF = "application/pdf"
PLAIN = "text/plain"
JSON = "application/json"
OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
READABLE = "plain text, Markdown, HTML, JSON, XML, CSV and other texts, and PDF"
"""The kinds that a text can be taken from, as an error names them."""

_NOT_SAID = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown", "unknown/unknown"})
"""Content types by which a sender says that it does not know."""
_OTHER_NAMES: Final = dict.fromkeys(
    ("application/x-pdf", "application/acrobat", "application/vnd.pdf", "text/pdf"), PDF
)
"""Names of a kind from before it had one, which programs still write."""
_JSON_TYPES = frozenset(
    {
        JSON, "text/json", "application/x-json", "application/json5", "application/ndjson",
        "application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines",
    }
)  # fmt: skip
_TEXTS_OF_APPLICATIONS = _JSON_TYPES | frozenset(
    {
        "application/xml", "application/xml-dtd", "application/yaml", "application/x-yaml", "application/toml",
        "application/csv", "application/javascript", "application/x-javascript", "application/ecmascript",
        "application/typescript", "application/x-typescript", "application/sql", "application/graphql",
        "application/x-sh", "application/x-httpd-php", "application/x-python", "application/x-python-code",
        "application/x-perl", "application/x-ruby", "application/x-tex", "application/x-latex", "application/x-subrip",
    }
)  # fmt: skip
_LOOKED_AT = 8192
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\"';\s]{1,100})", re.IGNORECASE)


@dataclass(frozen=True)
class BinaryKind:
    """A format that is no text."""

    name: str
    """as an error calls it"""
    content_type: str


def media_type(content_type: str) -> str:
    """`type/subtype` in lower case, without parameters."""
    name = content_type.partition(";")[0].strip().lower()
    return _OTHER_NAMES.get(name, name)


def declared_charset(content_type: str) -> list[str]:
    """The charset that a content type declares, if it does."""
    found = _CHARSET.search(content_type)
    return [found[1]] if found else []


def is_unsaid(content_type: str) -> bool:
    """Whether a content type leaves open what the bytes are, so that they are looked at."""
    return media_type(content_type) in _NOT_SAID


def is_text(content_type: str) -> bool:
    """Whether a content type names a text, of whatever kind."""
    kind = media_type(content_type)
    return kind.startswith("text/") or kind in _TEXTS_OF_APPLICATIONS or kind.endswith(("+xml", "+json", "+yaml"))


def is_json(content_type: str) -> bool:
    """Whether a content type names JSON: one value, or one in each line."""
    kind = media_type(content_type)
    return kind in _JSON_TYPES or kind.endswith("+json")


def is_readable(content_type: str) -> bool:
    """Whether a text can be taken from this content type; one that leaves it open may turn out to be readable."""
    return is_text(content_type) or is_unsaid(content_type) or media_type(content_type) == PDF


def binary_kind(content: bytes) -> BinaryKind | None:
    """The binary format that these bytes evidently are, PDF among them; None for what may be a text."""
    for mark, found in _MARKS:
        # a text may begin with the letters of some marks, and goes on in letters then
        if content.startswith(mark) and _NO_LETTERS.search(content[: len(mark) + 16]):
            return found(content) if callable(found) else found
    if content[4:8] == b"ftyp" and b"\x00" in content[:4]:
        return BinaryKind("an MP4 or QuickTime file", "video/mp4")
    if content[257:263] in (b"ustar\x00", b"ustar "):
        return BinaryKind("a tar archive", "application/x-tar")
    return _PDF if _PDF_BEGINS.match(content[:_LOOKED_AT]) else None


def evident_text(text: str) -> str:
    """The content type of a text that nothing was said of, by its beginning and its end.

    HTML begins as a page does, or is markup from end to end. JSON is of consequence only when it has characters by
    their numbers.
    """
    start, end = text[:_LOOKED_AT], text[-_LOOKED_AT:].rstrip()[-1:]
    if _PAGE_BEGINS.match(start) or (_MARKUP_BEGINS.match(start) and end == ">"):
        return HTML
    return JSON if _JSON_BEGINS.match(start) and end in ("]", "}") and "\\u" in text else PLAIN


def _in_zip(content: bytes) -> BinaryKind:
    for member, kind in _ZIPPED:
        if member in content:
            return kind
    return BinaryKind("a zip archive", "application/zip")


def _in_riff(content: bytes) -> BinaryKind:
    if content[8:12] == b"WEBP":
        return BinaryKind("a WebP image", "image/webp")
    return BinaryKind("a WAV or AVI file", "audio/x-wav")


_OFFICE = "application/vnd.openxmlformats-officedocument."
_PDF = BinaryKind("a PDF", PDF)
# some programs write blanks before the mark; in a text that only speaks of it, words follow
_PDF_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?[\x00\s]{0,1024}%PDF-\d\.\d[ \t]*[\r\n%]")
_NO_LETTERS = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f-\xff]")
_ZIPPED: Final = (
    (b"word/document", BinaryKind("a Word document (.docx)", f"{_OFFICE}wordprocessingml.document")),
    (b"xl/workbook", BinaryKind("an Excel workbook (.xlsx)", f"{_OFFICE}spreadsheetml.sheet")),
    (b"ppt/presentation", BinaryKind("a PowerPoint presentation (.pptx)", f"{_OFFICE}presentationml.presentation")),
    (b"mimetypeapplication/epub", BinaryKind("an EPUB book", "application/epub+zip")),
    (b"opendocument.text", BinaryKind("an OpenDocument text (.odt)", f"{OPEN_DOCUMENT}text")),
    (b"opendocument.", BinaryKind("an OpenDocument file", f"{OPEN_DOCUMENT}spreadsheet")),
    (b"META-INF/MANIFEST.MF", BinaryKind("a Java archive", "application/java-archive")),
)
_MARKS: Final[tuple[tuple[bytes, BinaryKind | Callable[[bytes], BinaryKind]], ...]] = (
    (b"PK\x03\x04", _in_zip),
    (b"PK\x05\x06", _in_zip),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", BinaryKind("an old Office file (.doc, .xls)", "application/x-ole-storage")),
    (b"\x1f\x8b\x08", BinaryKind("a gzip archive", "application/gzip")),
    (b"BZh91AY&SY", BinaryKind("a bzip2 archive", "application/x-bzip2")),
    (b"\xfd7zXZ\x00", BinaryKind("an xz archive", "application/x-xz")),
    (b"\x28\xb5\x2f\xfd", BinaryKind("a Zstandard archive", "application/zstd")),
    (b"7z\xbc\xaf\x27\x1c", BinaryKind("a 7-Zip archive", "application/x-7z-compressed")),
    (b"Rar!\x1a\x07", BinaryKind("a RAR archive", "application/vnd.rar")),
    (b"\x89PNG\r\n\x1a\n", BinaryKind("a PNG image", "image/png")),
    (b"\xff\xd8\xff", BinaryKind("a JPEG image", "image/jpeg")),
    (b"GIF87a", BinaryKind("a GIF image", "image/gif")),
    (b"GIF89a", BinaryKind("a GIF image", "image/gif")),
    (b"II*\x00", BinaryKind("a TIFF image", "image/tiff")),
    (b"MM\x00*", BinaryKind("a TIFF image", "image/tiff")),
    (b"RIFF", _in_riff),
    (b"ID3\x02", BinaryKind("an MP3 file", "audio/mpeg")),
    (b"ID3\x03", BinaryKind("an MP3 file", "audio/mpeg")),
    (b"ID3\x04", BinaryKind("an MP3 file", "audio/mpeg")),
    (b"OggS\x00", BinaryKind("an Ogg file", "audio/ogg")),
    (b"fLaC\x00", BinaryKind("a FLAC file", "audio/flac")),
    (b"\x1a\x45\xdf\xa3", BinaryKind("a Matroska or WebM video", "video/webm")),
    (b"\x7fELF", BinaryKind("a program", "application/x-executable")),
    (b"MZ\x90\x00", BinaryKind("a Windows program", "application/vnd.microsoft.portable-executable")),
    (b"\xcf\xfa\xed\xfe", BinaryKind("a program", "application/x-mach-binary")),
    (b"\xca\xfe\xba\xbe", BinaryKind("a program", "application/java-vm")),
    (b"\x00asm", BinaryKind("a WebAssembly program", "application/wasm")),
    (b"SQLite format 3\x00", BinaryKind("a SQLite database", "application/vnd.sqlite3")),
    (b"PAR1", BinaryKind("a Parquet file", "application/vnd.apache.parquet")),
    (b"wOFF", BinaryKind("a font", "font/woff")),
    (b"wOF2", BinaryKind("a font", "font/woff2")),
)  # fmt: skip

_JSON_BEGINS = re.compile(r"\ufeff?\s*+(?:(?:\[\s*+)*+\{\s*+\"|(?:\[\s*+)++\")")
_BEFORE = r"\ufeff?(?:\s++|<!--(?>.*?-->))*+"
_PAGE_BEGINS = re.compile(
    r"\ufeff?(?:\s++|<!--(?>.*?-->)|<\?xml(?>.*?\?>))*+<(?:!doctype\s+html|html|head|body|script|style|title|meta|base|frameset)[\s/>]",
    re.IGNORECASE | re.DOTALL,
)
_MARKUP_BEGINS = re.compile(
    _BEFORE + r"<(?:p|div|span|h[1-6]|table|ul|ol|dl|article|section|main|header|footer|nav|aside|form|a|b|i|em|strong|"
    r"br|hr|img|font|center|blockquote|pre|code|figure|iframe|link|noscript|svg|details)[\s/>]",
    re.IGNORECASE | re.DOTALL,
)
