"""Bytes to text: what each content type gives, and what cannot be read and why."""

import gzip
import io
import random
import re
import tracemalloc
import zipfile

import pypdf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pypdf.generic import DictionaryObject as Dictionary
from pypdf.generic import NameObject as Name

from core.files.kinds import is_readable
from pipelines.extractors.reading import read_text
from pipelines.extractors.reading_outcome import Text, Unreadable

EMOJI = "\U0001f600"
UNDEFINED = b"\x81\x8d\x8f\x90\x9d"
"""The five bytes that windows-1252 leaves undefined."""


def said(content: bytes, content_type: str = "text/plain") -> str:
    """The text of what can be read."""
    found = read_text(content, content_type)
    assert isinstance(found, Text), found
    return found.content


def remarks(content: bytes, content_type: str = "text/plain") -> list[str]:
    """The codes of what was remarked on while reading."""
    found = read_text(content, content_type)
    assert isinstance(found, Text), found
    return [remark.code for remark in found.remarks]


def office(*members: str) -> bytes:
    """A zip archive with these members, as Office and others make them."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in members:
            archive.writestr(name, "<x/>")
    return written.getvalue()


DOCX = office("[Content_Types].xml", "word/document.xml")


def pdf(*texts: str, password: str | None = None, owner: str | None = None, broken: int | None = None) -> bytes:
    """A PDF with a page for each of the texts; the page at `broken` has a content that is no stream."""
    writer = pypdf.PdfWriter()
    for number, text in enumerate(texts):
        page = writer.add_blank_page(300, 300)
        page[Name("/Resources")] = Dictionary({Name("/Font"): Dictionary({Name("/F1"): font()})})
        content = pypdf.generic.DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode() if text else b"")
        page[Name("/Contents")] = writer._add_object(content)
        if number == broken:
            content[Name("/Filter")] = Name("/NoSuchFilter")
    if password is not None:
        writer.encrypt(password, owner, algorithm="AES-256")
    return written(writer)


def pdf_with_map(glyphs: dict[str, str], text: str) -> bytes:
    """A PDF that says `text` in a font whose map gives these glyphs these UTF-16 code units, in hexadecimal."""
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(300, 300)
    rows = "".join(f"<{ord(glyph):02X}> <{units}>\n" for glyph, units in glyphs.items())
    map_of = pypdf.generic.DecodedStreamObject()
    map_of.set_data(
        f"begincmap\n1 begincodespacerange\n<00> <FF>\nendcodespacerange\n"
        f"{len(glyphs)} beginbfchar\n{rows}endbfchar\nendcmap".encode()
    )
    mapped = font()
    mapped[Name("/ToUnicode")] = writer._add_object(map_of)
    page[Name("/Resources")] = Dictionary({Name("/Font"): Dictionary({Name("/F1"): mapped})})
    content = pypdf.generic.DecodedStreamObject()
    content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
    page[Name("/Contents")] = writer._add_object(content)
    return written(writer)


def font() -> Dictionary:
    """Helvetica."""
    names = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
    return Dictionary({Name(name): Name(value) for name, value in names.items()})


def written(writer: pypdf.PdfWriter) -> bytes:
    """The file."""
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


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
        (random.Random(1).randbytes(4000), "text/plain", "binary_content"),
        (random.Random(2).randbytes(4000), "text/markdown; charset=latin-1", "binary_content"),
        (random.Random(3).randbytes(4000), "text/html", "binary_content"),
        (random.Random(4).randbytes(4000), "application/json", "binary_content"),
        (random.Random(5).randbytes(4000), "application/octet-stream", "binary_content"),
        (bytes(range(1, 9)) * 40, "text/plain", "binary_content"),
        (DOCX, "text/plain", "unsupported_content"),
        (DOCX, "text/html", "unsupported_content"),
        (DOCX, "application/pdf", "unsupported_content"),
        (gzip.compress(b"text"), "text/plain", "unsupported_content"),
        (b"\x7fELF\x02\x01\x01" + bytes(60), "application/octet-stream", "unsupported_content"),
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


def test_what_is_no_text_is_called_by_its_name() -> None:
    found = read_text(DOCX, "text/plain")
    assert isinstance(found, Unreadable)
    assert "Word document (.docx)" in found.message
    assert "PDF" in found.message


# Encodings ------------------------------------------------------------------------------------------

SENTENCE = "Ein Straßenfest für 5 € – “schön”, ñandú"


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        # a byte order mark is trusted before anything that is declared
        (b"\xef\xbb\xbf" + SENTENCE.encode(), "text/plain; charset=iso-8859-1", SENTENCE),
        (SENTENCE.encode("utf-16"), "text/plain; charset=utf-8", SENTENCE),
        (b"\xfe\xff" + SENTENCE.encode("utf-16-be"), "text/markdown", SENTENCE),
        (SENTENCE.encode("utf-32"), "text/csv", SENTENCE),
        (b"\x00\x00\xfe\xff" + SENTENCE.encode("utf-32-be"), "application/json", SENTENCE),
        # then what is UTF-8
        (SENTENCE.encode(), "text/plain; charset=iso-8859-1", SENTENCE),
        (SENTENCE.encode(), "text/plain; charset=shift_jis", SENTENCE),
        (SENTENCE.encode(), "text/plain; charset=utf-16", SENTENCE),
        (SENTENCE.encode(), "text/plain; charset=klingon", SENTENCE),
        # then what is declared
        ("Привет, мир".encode("koi8-r"), "text/plain; charset=koi8-r", "Привет, мир"),
        ("日本語の文書".encode("shift_jis"), 'text/csv; charset="Shift_JIS"', "日本語の文書"),
        ("①髙".encode("cp932"), "text/plain; charset=shift_jis", "①髙"),
        ("日本語の文書".encode("iso-2022-jp"), "text/plain; charset=ISO-2022-JP", "日本語の文書"),
        ("简体中文".encode("gb18030"), "text/plain; charset=gb2312", "简体中文"),
        (SENTENCE.encode("utf-16-le"), "text/plain; charset=utf-16", SENTENCE),
        (SENTENCE.encode("utf-16-be"), "text/plain; charset=utf-16", SENTENCE),
        (SENTENCE.encode("utf-16-be"), "text/plain; charset=utf-16le", SENTENCE),
        ("日本語の文書".encode("utf-16-be"), "text/plain; charset=utf-16be", "日本語の文書"),
        (SENTENCE.encode("utf-32-be"), "text/plain; charset=utf-32", SENTENCE),
        # the web means windows-1252 by these
        (SENTENCE.encode("cp1252"), "text/plain; charset=iso-8859-1", SENTENCE),
        (SENTENCE.encode("cp1252"), "text/plain; charset=us-ascii", SENTENCE),
        # then windows-1252
        (SENTENCE.encode("cp1252"), "text/plain", SENTENCE),
        (SENTENCE.encode("cp1252"), "text/csv", SENTENCE),
        (SENTENCE.encode("cp1252"), "text/markdown", SENTENCE),
        (f'{{"a": "{SENTENCE}"}}'.encode("cp1252"), "application/json", f'{{"a": "{SENTENCE}"}}'),
        (SENTENCE.encode("cp1252"), "text/plain; charset=utf-8", SENTENCE),
        (SENTENCE.encode("cp1252"), "text/plain; charset=klingon", SENTENCE),
        (SENTENCE.encode("cp1252"), "text/plain; charset=idna", SENTENCE),
        (SENTENCE.encode("cp1252"), "text/plain; charset=undefined", SENTENCE),
        (SENTENCE.encode("cp1252"), "text/plain; charset=hex", SENTENCE),
        # UTF-7 is none, as on the web: its bytes are ASCII, and so UTF-8
        (SENTENCE.encode("cp1252"), "text/plain; charset=utf-7", SENTENCE),
        (b"Hi +AGE-", "text/plain; charset=utf-7", "Hi +AGE-"),
        (SENTENCE.encode("cp1252"), f"text/plain; charset={'x' * 5000}", SENTENCE),
        (b"a" * 30_000 + b"\xf1", "text/plain", "a" * 30_000 + "ñ"),
        (b"a" + UNDEFINED, "text/plain", "a\x81\x8d\x8f\x90\x9d"),
        (b"abc", "text/plain; charset=klingon", "abc"),
        (b"\x80abc", "text/plain", "€abc"),
        # UTF-16 that declares nothing shows by its zeros
        (SENTENCE.encode("utf-16-le"), "text/plain", SENTENCE),
        (SENTENCE.encode("utf-16-be"), "text/plain", SENTENCE),
        (SENTENCE.encode("utf-32-le"), "text/plain", SENTENCE),
        # what is UTF-8 but for a few bytes keeps its other characters
        ("Grüße, Жуков, 日本 und ".encode() + b"\xf1", "text/plain", "Grüße, Жуков, 日本 und ñ"),
        ("Grüße, Жуков".encode()[:-1], "text/plain", "Grüße, ЖукоÐ"),
    ],
)
def test_encodings_are_trusted_in_order(content: bytes, content_type: str, expected: str) -> None:
    assert said(content, content_type) == expected


def page(head: str, encoding: str, text: str = SENTENCE) -> bytes:
    """A page in this encoding."""
    return f"<html><head>{head}</head><body><p>{text}</p></body></html>".encode(encoding)


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (page('<meta charset="iso-8859-1">', "cp1252"), "text/html", SENTENCE),
        (page("<META content='text/html;charset=koi8-r' http-equiv=x>", "koi8-r", "мир"), "text/html", "мир"),
        (page("<meta charset=shift_jis>", "shift_jis", "日本語"), "application/xhtml+xml", "日本語"),
        ('<?xml version="1.0" encoding="ISO-8859-5"?>\n<html><body>мир</body></html>'.encode("iso-8859-5"),
         "application/xhtml+xml", "мир"),
        ('<?xml version="1.0" encoding="koi8-r"?><a>мир</a>'.encode("koi8-r"), "application/xml",
         '<?xml version="1.0" encoding="koi8-r"?><a>мир</a>'),
        # the content type is nearer to the bytes than the page's own word
        (page("<meta charset=koi8-r>", "cp1251", "мир"), "text/html; charset=windows-1251", "мир"),
        # a page that says UTF-16 in plain ASCII is wrong, also with bytes in pairs
        (page("<meta charset=utf-16>", "cp1252"), "text/html", SENTENCE),
        (page("<meta charset=utf-16> ", "cp1252"), "text/html", SENTENCE),
        (page("<meta charset=utf-16>", "utf-8"), "text/html", SENTENCE),
        (page("<meta charset=utf-8>", "cp1252"), "text/html", SENTENCE),
        (page("<meta charset=x-user-defined>", "cp1252"), "text/html", SENTENCE),
        (page("", "utf-16"), "text/html", SENTENCE),
        (page("", "utf-16-le"), "text/html", SENTENCE),
        (page("", "cp1252"), "text/html", SENTENCE),
    ],
)  # fmt: skip
def test_what_a_document_declares_of_its_encoding_counts(content: bytes, content_type: str, expected: str) -> None:
    assert said(content, content_type) == expected


def test_a_guess_and_a_wrong_declaration_are_remarked_on() -> None:
    assert remarks(SENTENCE.encode("cp1252")) == ["encoding_guessed"]
    assert remarks(SENTENCE.encode("cp1252"), "text/plain; charset=klingon") == ["encoding_guessed"]
    assert remarks("Grüße, Жуков, 日本 und ".encode() + b"\xf1") == ["encoding_damaged"]
    assert remarks(SENTENCE.encode("utf-16") + b"x") == ["encoding_damaged"]
    for fine in (SENTENCE.encode(), SENTENCE.encode("utf-16"), b"abc"):
        assert remarks(fine) == []
    assert remarks(SENTENCE.encode("cp1252"), "text/plain; charset=iso-8859-1") == []


@given(content=st.binary(max_size=40))
@example(bytes(range(128, 256)))
def test_windows_1252_loses_no_byte(content: bytes) -> None:
    # an upper-case letter before each byte that continues nothing, so that it is neither UTF-8 nor UTF-16
    damaged = b"A\xff A" + content.translate(None, bytes(range(32)) + b"\x7f") + b" A\xc0 A"
    text = said(damaged)
    mapped = {bytes([byte]).decode("cp1252", "ignore") or chr(byte): byte for byte in range(256)}
    assert bytes(mapped[character] for character in text) == damaged


# NUL, surrogate halves and control characters -------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (b"a\x00b", "text/plain", "ab"),
        (b"one\x00two\x00" * 50, "text/csv", "onetwo" * 50),
        (b"padded" + bytes(500) + b"record", "text/plain", "paddedrecord"),
        (b"<p>a\x00b</p><p>c\x00d</p>", "text/html", "ab\n\ncd"),
        (b"# T\x00itle", "text/markdown", "# Title"),
        ("a\x00ñ".encode("utf-16"), "text/plain", "añ"),
        (b"\x1b[31mred\x1b[0m\x0c\x08" * 30, "text/plain", b"\x1b[31mred\x1b[0m\x0c\x08".decode() * 30),
        (b"dos\r\n\x1a", "text/plain", "dos\r\n\x1a"),
        (b"a\x01b", "text/plain", "a\x01b"),
        # halves of a pair, each written as if it were a character
        (b"x\xed\xa0\xbd\xed\xb8\x80y", "text/plain", f"x{EMOJI}y"),
        (b"x\xed\xa0\xbdy", "text/plain", "x\ufffdy"),
        (b"<p>\xed\xa0\xbd\xed\xb8\x80</p>", "text/html", EMOJI),
        (b"<p>&#xD83D;&#xDE00; &#55357;&#56832; &#xd83d;&#56832;</p>", "text/html", f"{EMOJI} {EMOJI} {EMOJI}"),
        (b"<p>&#128512; &#xD83D; &#x41;&#xDE00;</p>", "text/html", f"{EMOJI} \ufffd A\ufffd"),
        ("\ud83d \ude00".encode("utf-16", "surrogatepass"), "text/plain", "\ufffd \ufffd"),
        (b'{"a": "\\ud83d\\ude00 \\u00e9 \\\\u00e9 \\u0022"}', "application/json",
         f'{{"a": "{EMOJI} é \\\\u00e9 \\u0022"}}'),
    ],
)  # fmt: skip
def test_what_no_text_can_hold_is_mended(content: bytes, content_type: str, expected: str) -> None:
    assert said(content, content_type) == expected


def test_halves_of_a_pair_in_a_pdf_are_joined() -> None:
    assert said(pdf_with_map({"A": "D83D", "B": "DE00", "C": "00660069"}, "xABC"), "application/pdf") == f"x{EMOJI}fi"


# What was not declared ------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["application/octet-stream", "binary/octet-stream", "application/unknown", ""])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<!DOCTYPE html><html><head><script>evil()</script></head><body><p>Hi</p></body></html>", "Hi"),
        (b"\n\n <!-- note --> <!doctype HTML>\n<p>Hi", "Hi"),
        (b"\xef\xbb\xbf<html><p>Hi", "Hi"),
        ("<html><p>Hi".encode("utf-16"), "Hi"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html><html xmlns='http://www.w3.org/1999/xhtml'><body>Hi</body></html>",
         "Hi"),
        (b"<HTML><BODY>Hi", "Hi"),
        (b"<script>evil()</script><p>Hi</p>", "Hi"),
        (b"<div><p>Hi</p></div>\n", "Hi"),
        (b"<div align=center>\n\n# Hi\n\n</div>\n\nThis is Markdown.",
         "<div align=center>\n\n# Hi\n\n</div>\n\nThis is Markdown."),
        (b"<3 is a heart", "<3 is a heart"),
        (b"<pending> is what it says", "<pending> is what it says"),
        (b"just text", "just text"),
        (SENTENCE.encode("cp1252"), SENTENCE),
    ],
)  # fmt: skip
def test_what_comes_without_a_type_is_looked_at(content: bytes, content_type: str, expected: str) -> None:
    assert said(content, content_type) == expected


def test_a_pdf_without_its_type_is_read_as_one() -> None:
    for content_type in ("application/octet-stream", "", "text/plain"):
        assert said(pdf("Rotate the keys"), content_type) == "Rotate the keys"


def test_who_says_that_html_is_plain_text_gets_its_source() -> None:
    assert said(b"<!doctype html><p>Hi</p>", "text/plain") == "<!doctype html><p>Hi</p>"


# HTML -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["div", "span", "blockquote", "table><tr><td", "ul><li", "b", "font", "x-deep"])
@pytest.mark.parametrize("levels", [600, 5_000, 20_000])
def test_a_text_is_found_however_deep_it_lies(tag: str, levels: int) -> None:
    name = tag.split(">")[0]
    content = f"<body><h1>Top</h1>{f'<{tag}>' * levels}deep text{f'</{name}>' * levels}<p>Below</p>".encode()
    tracemalloc.start()
    found = read_text(content, "text/html")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Text)
    assert [word for word in ("Top", "deep text", "Below") if word in found.content] == ["Top", "deep text", "Below"]
    assert most < 60 * len(content) + 10_000_000
    assert levels == 600 or "html_flattened" in {remark.code for remark in found.remarks}


@pytest.mark.parametrize(
    "content",
    [
        "<table><tr>" + "<td>x" * 20_000 + "<tr><td>y" * 20_000,
        "<table>" + "<tr><td colspan=1000>x" * 40_000,
        "<blockquote>" * 300 + "<p>x" * 40_000,
        "<ul><li>" * 90 + "<pre>" + "x\n" * 400_000,
    ],
    ids=["columns", "spans", "quotes", "lists"],
)
def test_markup_that_would_grow_without_bound_is_read_without_its_structure(content: str) -> None:
    found = read_text(content.encode(), "text/html")
    assert isinstance(found, Text)
    assert [remark.code for remark in found.remarks] == ["html_flattened"]
    assert len(found.content) < 2 * len(content)
    assert found.content.count("x") == content.count("x")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<form action=/x><p>In a form</p></form>", "In a form"),
        (b"<body><nav>Home</nav><p>Body</p>", "Body"),
        (b"<nav><p>Only a menu</p></nav>", "Only a menu"),
    ],
)
def test_the_body_of_a_page_is_read_whatever_is_round_it(content: bytes, expected: str) -> None:
    assert said(content, "text/html") == expected


def test_what_the_converter_remarks_on_is_passed_on() -> None:
    found = read_text(b"<my-own>" * 600 + b"INNER", "text/html")
    assert isinstance(found, Text)
    assert "INNER" in found.content
    assert [(remark.code, remark.lost) for remark in found.remarks] == [("malformed_html", False)]
    assert "depth limit" in found.remarks[0].message


@pytest.mark.parametrize(
    "unit",
    [
        "<!--", "<", "<a ", '<a b="', "<script>", "&", "<p>", "</p>", "<p><table>", "<table>x<dl>y", "<a b='c' ",
        "<![CDATA[", "<b><i>", "<= = = ", "<a =  ", "&#xD83D;", "<svg><p>", "<table><svg>", "<meta charset=",
        "<style a='", "<head ", "<title a='",
    ],
)  # fmt: skip
def test_hostile_markup_ends(unit: str) -> None:
    # some hundred thousand characters: what takes the square of them does not end in time
    for around in ("", "<body>" + "<div>" * 1100):
        assert isinstance(read_text((around + unit * (300_000 // len(unit))).encode(), "text/html"), Text)


# PDF ------------------------------------------------------------------------------------------------


def test_what_the_pdf_reader_remarks_on_is_passed_on() -> None:
    damaged = re.sub(rb"startxref\n\d+", b"startxref\n3", pdf("Rotate the keys"))
    found = read_text(damaged, "application/pdf")
    assert isinstance(found, Text)
    assert found.content == "Rotate the keys"
    assert {remark.code for remark in found.remarks} == {"pdf_damaged"}


def test_a_page_that_cannot_be_read_leaves_the_others() -> None:
    found = read_text(pdf("One", "Two", "Three", broken=1), "application/pdf")
    assert isinstance(found, Text)
    assert found.content == "One\n\nThree"
    [remark] = [remark for remark in found.remarks if remark.lost]
    assert (remark.code, remark.count) == ("unreadable_pages", 1)
    assert "2" in remark.message


def test_pages_without_text_are_counted() -> None:
    found = read_text(pdf("One", "", ""), "application/pdf")
    assert isinstance(found, Text)
    assert [(remark.code, remark.count, remark.lost) for remark in found.remarks] == [("empty_pages", 2, False)]


# Anything -------------------------------------------------------------------------------------------

TYPES = ["text/plain", "text/html", "text/markdown; charset=utf-16", "application/pdf", "application/json", "",
         "text/plain; charset=iso-2022-jp", "text/x; charset=hz", "application/xml", "text/x; charset=utf-7",
         ]  # fmt: skip


@given(content=st.binary(max_size=300), content_type=st.sampled_from(TYPES))
def test_no_bytes_make_an_exception_or_a_text_that_cannot_be_kept(content: bytes, content_type: str) -> None:
    found = read_text(content, content_type)
    if isinstance(found, Text):
        found.content.encode()
        assert "\x00" not in found.content
    else:
        assert found.code
        assert found.message


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("is_page", [False, True])
def test_damaged_files_are_values(content_type: str, is_page: bool) -> None:
    chance = random.Random(7)
    content = page("<meta charset=koi8-r>", "utf-8") if is_page else pdf("Rotate the keys")
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(chance.randrange(1, 12)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        assert isinstance(read_text(bytes(damaged), content_type), Text | Unreadable)


def test_readable_types_are_known() -> None:
    assert is_readable("Text/HTML; charset=utf-8")
    assert is_readable("text/x-whatever")
    for readable in ("application/xml", "image/svg+xml", "application/ld+json", "application/x-yaml", ""):
        assert is_readable(readable)
    assert not is_readable("image/png")
