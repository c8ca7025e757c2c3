"""Bytes to text: what each content type gives, and what cannot be read and why."""

import io

import pypdf
import pytest

from pipelines.extractors.reading import Text, Unreadable, can_read, read_text


def pdf(text: str, password: str | None = None, owner: str | None = None) -> bytes:
    """A PDF with one page that says `text`."""
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(300, 300)
    font = pypdf.generic.DictionaryObject(
        {
            pypdf.generic.NameObject("/Type"): pypdf.generic.NameObject("/Font"),
            pypdf.generic.NameObject("/Subtype"): pypdf.generic.NameObject("/Type1"),
            pypdf.generic.NameObject("/BaseFont"): pypdf.generic.NameObject("/Helvetica"),
        }
    )
    page[pypdf.generic.NameObject("/Resources")] = pypdf.generic.DictionaryObject(
        {pypdf.generic.NameObject("/Font"): pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/F1"): font})}
    )
    content = pypdf.generic.DecodedStreamObject()
    content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
    page[pypdf.generic.NameObject("/Contents")] = writer._add_object(content)
    if password is not None:
        writer.encrypt(password, owner, algorithm="AES-256")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        ("Grüße".encode(), "text/plain", Text("Grüße")),
        ("Grüße".encode("latin-1"), "text/plain; charset=latin-1", Text("Grüße")),
        ("Grüße".encode("utf-16"), "text/plain", Text("Grüße")),
        ("Grüße".encode("utf-8-sig"), "text/plain", Text("Grüße")),
        (b"# Title\n\nBody", "text/markdown", Text("# Title\n\nBody", is_markdown=True)),
        (b"a,b\n1,2", "text/csv", Text("a,b\n1,2")),
        (b'{"a": 1}', "application/json", Text('{"a": 1}')),
        (b"  \n ", "text/plain", Text("")),
    ],
)
def test_texts_are_decoded(content: bytes, content_type: str, expected: Text) -> None:
    assert read_text(content, content_type) == expected


def test_html_becomes_markdown_without_its_machinery() -> None:
    head = b"<html><head><title>T</title><style>x{}</style></head>"
    body = b"<body><h1>Keys</h1><script>evil()</script><p>Rotate <b>them</b></p></body></html>"
    found = read_text(head + body, "text/html; charset=utf-8")
    assert found == Text("# Keys\n\nRotate **them**", is_markdown=True)


def test_pdf_pages_are_read() -> None:
    assert read_text(pdf("Rotate the keys"), "application/pdf") == Text("Rotate the keys")


def test_a_pdf_encrypted_for_its_owner_only_opens() -> None:
    assert read_text(pdf("Rotate the keys", password="", owner="o"), "application/pdf") == Text("Rotate the keys")


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (b"\xff\xfe\xfd\xfc\xfb", "text/plain; charset=utf-8", "undecodable_text"),
        (b"\x80abc", "text/plain", "undecodable_text"),
        (b"abc", "text/plain; charset=klingon", "undecodable_text"),
        (b"a\x00b", "text/plain", "undecodable_text"),
        (b"GIF89a", "image/gif", "unsupported_content"),
        (pdf("secret", password="open sesame"), "application/pdf", "encrypted_pdf"),
        (b"%PDF-1.7 and then nothing", "application/pdf", "unreadable_content"),
        (b"", "application/pdf", "unreadable_content"),
        (b"not a pdf at all", "application/pdf", "unreadable_content"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, content_type: str, code: str) -> None:
    found = read_text(content, content_type)
    assert isinstance(found, Unreadable)
    assert found.code == code
    assert found.message


def test_readable_types_are_known() -> None:
    assert can_read("Text/HTML; charset=utf-8")
    assert can_read("text/x-whatever")
    assert not can_read("image/png")
