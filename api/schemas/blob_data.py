"""A blob's `data` as bytes with a content type, held against what the blob claims to be. It stores nothing."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes

import orjson

from core.buckets.bucket import BINARY_TYPES, TEXT_TYPES, FieldType
from core.files.kinds import (
    HTML,
    JSON,
    OPEN_DOCUMENT,
    PDF,
    PLAIN,
    READABLE,
    binary_kind,
    declared_charset,
    evident_text,
    is_readable,
    is_text,
    is_unsaid,
    media_type,
)

_URL = re.compile(r"(https?|s3|gs)://\S+", re.IGNORECASE)
_DATA_URL: Final = re.compile(
    r"\s*data:\s*(?P<type>[\w.+/-]{0,100})"
    r"(?P<parameters>(?:\s*+;\s*+[\w.+*-]{1,50}+=(?:\"[^\"\r\n]{0,2000}+\"|[^;,\"\r\n]{1,2000}+)){0,10}+)"
    r"(?P<base64>\s*;\s*base64)?\s*,",
    re.ASCII | re.IGNORECASE,
)
_OCTETS = "application/octet-stream"
_USUAL: Final[Mapping[FieldType, str]] = {
    FieldType.PDF: PDF,
    FieldType.EXCEL: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_BASE64_FORM: Final = (
    "send base64, standard or URL-safe, with or without padding, line breaks and a data:…;base64, before it"
)
_FITTING: Final[Mapping[FieldType, tuple[str, ...]]] = {
    FieldType.IMAGE: ("image/", PDF),
    FieldType.AUDIO: ("audio/", "video/"),
    FieldType.VIDEO: ("video/", "audio/", "image/"),
    FieldType.EXCEL: (_USUAL[FieldType.EXCEL], "application/x-ole", "application/zip", f"{OPEN_DOCUMENT}spreadsheet"),
}
"""How the content types of files begin that a type holds; the others hold PDF at most."""
_LOOKED_AT = 64 * 1024
_BLANKS = str.maketrans("", "", " \t\r\n\v\f")
_STANDARD = str.maketrans("-_", "+/")
_SHORTEST_SECRET_FILE = 64
"""Characters of base64 in a text from which on it is looked at whether they are a file."""


class BadDataError(ValueError):
    """The data is not what its type says. The message says what would be right."""


def blob_content(field_type: FieldType, data: Any, declared: str | None) -> tuple[str, bytes]:
    """The content type and the bytes of a blob of this type. Raises BadDataError."""
    if isinstance(data, str) and _URL.fullmatch(data.strip()):
        raise BadDataError("URLs are not fetched yet: send the text itself, or base64 for a binary type")
    if field_type in BINARY_TYPES:
        return _binary(field_type, data, declared)
    if field_type in TEXT_TYPES:
        return _text(field_type, data, declared)
    if data is None:
        raise BadDataError("send a value")
    return _readable(declared or JSON, field_type), orjson.dumps(data)


def decoded_base64(text: str) -> bytes:
    """The bytes, however the base64 is written. Raises BadDataError."""
    plain = text.translate(_BLANKS).translate(_STANDARD).rstrip("=")
    if not plain:
        raise BadDataError(_BASE64_FORM)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadDataError(_BASE64_FORM) from None


def _binary(field_type: FieldType, data: Any, declared: str | None) -> tuple[str, bytes]:
    if not isinstance(data, str) or not data.strip():
        raise BadDataError(f"{_BASE64_FORM}, for the type {field_type.value}")
    url = _DATA_URL.match(data)
    try:
        content = _of_data_url(url, data) if url else decoded_base64(data)
    except BadDataError as error:
        raise BadDataError(f"{error}, for the type {field_type.value}") from None
    said = declared or _type_of(url)
    if is_unsaid(said):
        said = _USUAL.get(field_type) or _evident(content)
    _require_what_it_says(content, said, field_type)
    return said, content


def _text(field_type: FieldType, data: Any, declared: str | None) -> tuple[str, bytes]:
    if not isinstance(data, str):
        raise BadDataError(f"send a text for the type {field_type.value}")
    # a text that only begins with "data:" goes on in words
    url = _DATA_URL.match(data)
    if url and (url["base64"] or ("/" in url["type"] and len(data.split(None, 1)) == 1)):
        content, said = _of_data_url(url, data), declared or _type_of(url) or PLAIN
        _require_what_it_says(content, said, field_type)
        return said if is_readable(said) else _readable(said, field_type), content
    _require_no_file(data, field_type)
    # what was declared of another encoding ends here: JSON has brought the text itself
    said = media_type(declared or "")
    if is_unsaid(said):
        said = evident_text(data)
    return _readable(said, field_type), data.encode()


def _of_data_url(url: re.Match[str], data: str) -> bytes:
    rest = data[url.end() :]
    if not url["base64"]:
        return unquote_to_bytes(rest)
    return decoded_base64(unquote(rest) if "%" in rest else rest)


def _type_of(url: re.Match[str] | None) -> str:
    """What a `data:` URL says of its content: a file's name and the like say nothing of it."""
    if url is None:
        return ""
    charset = "".join(f";charset={name}" for name in declared_charset(url["parameters"]))
    return (url["type"] or (PLAIN if charset else "")) + charset


def _evident(content: bytes) -> str:
    """The content type that bytes have on them; the one that leaves it open for all others."""
    if found := binary_kind(content):
        return found.content_type
    return HTML if evident_text(content.decode("utf-8", "replace")) == HTML else _OCTETS


def _readable(said: str, field_type: FieldType) -> str:
    if not is_text(said):
        raise BadDataError(
            f"{media_type(said)} is not read as a {field_type.value}: {READABLE} can be read; "
            "send a PDF as base64 with the type pdf"
        )
    return said


def _require_what_it_says(content: bytes, said: str, field_type: FieldType) -> None:
    """Raises BadDataError for a file that evidently is of another kind than its type, or than a text that it should be.

    Where no text is to be taken from it, only what has marks of another kind is refused.
    """
    found = binary_kind(content)
    if found is None:
        return
    if is_text(said) and found.content_type != PDF:
        raise BadDataError(_other_kind(found.name, "a text"))
    fitting = _FITTING.get(field_type, (PDF,))
    if not found.content_type.startswith(fitting):
        raise BadDataError(_other_kind(found.name, f"what the type {field_type.value} holds"))


def _require_no_file(text: str, field_type: FieldType) -> None:
    """Raises BadDataError for a file that was put into a text: as it is, or in base64."""
    found = binary_kind(text[:_LOOKED_AT].encode("latin-1", "replace"))
    start = text.lstrip()[:_LOOKED_AT]
    if found is None and len(start) >= _SHORTEST_SECRET_FILE and not (start.strip().translate(_NO_BASE64)):
        try:
            found = binary_kind(decoded_base64(start[: len(start) // 4 * 4]))
        except BadDataError:
            return
    if found is None:
        return
    if found.content_type == PDF:
        raise BadDataError(f"this is a PDF, not a {field_type.value}: send it as base64 with the type pdf")
    raise BadDataError(_other_kind(found.name, f"a {field_type.value}"))


_NO_BASE64 = dict.fromkeys(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n\t ")


def _other_kind(name: str, wanted: str) -> str:
    return f"this is {name}, not {wanted}: {READABLE} can be read"
