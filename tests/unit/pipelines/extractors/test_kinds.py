"""Content types under the names that programs write, and what is read by them."""

import io

import pypdf
import pytest

from pipelines.extractors.reading import read_text
from pipelines.extractors.reading_outcome import Text


@pytest.mark.parametrize("kind", ["application/x-pdf", "application/acrobat", "application/vnd.pdf", "text/pdf"])
def test_a_pdf_is_read_under_the_names_that_it_had(kind: str) -> None:
    assert read_text(_pdf(), kind) == Text("")


@pytest.mark.parametrize("lost", [4, 7, 15])
def test_a_pdf_that_lost_its_last_lines_is_read_with_a_remark(lost: int) -> None:
    found = read_text(_pdf()[:-lost], "application/pdf")
    assert isinstance(found, Text)
    assert {remark.code for remark in found.remarks} == {"pdf_damaged"}


def _pdf() -> bytes:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 200)
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


@pytest.mark.parametrize(
    "kind", ["application/json", "text/json", "application/ld+json", "application/x-ndjson", "application/jsonl", ""]
)
def test_json_of_every_kind_is_read_by_what_its_numbers_mean(kind: str) -> None:
    assert read_text(rb'{"name": "\u041f\u0440\ud83d\ude00 \\u00e9"}', kind) == Text(r'{"name": "Пр😀 \\u00e9"}')


def test_a_plain_text_keeps_what_it_says() -> None:
    assert read_text(rb'{"name": "\u041f"}', "text/plain") == Text(r'{"name": "\u041f"}')
