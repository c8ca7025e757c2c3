"""What `data:` URLs and content types of before say of a blob."""

import base64

import pytest

from api.schemas.blob_data import blob_content
from core.buckets.bucket import FieldType

_PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj"
_BASE64 = base64.b64encode(_PDF).decode()
_LONG_NAME = "%D0%9E%D1%82%D1%87%D1%91%D1%82%20" * 8 + ".pdf"


@pytest.mark.parametrize(
    "parameters", [";name=report.pdf", f";name={_LONG_NAME}", ";name=my report.pdf", ';name="my, new; report.pdf"', ""]
)
def test_a_files_name_in_a_data_url_is_no_part_of_it(parameters: str) -> None:
    url = f"data:application/pdf{parameters};base64,{_BASE64}"
    assert blob_content(FieldType.PDF, url, None) == ("application/pdf", _PDF)


def test_a_data_url_may_say_its_charset_alone() -> None:
    data = base64.b64encode("Привет".encode("cp1251")).decode()
    content_type, content = blob_content(FieldType.TEXT, f"data:;charset=windows-1251;base64,{data}", None)
    assert (content_type, content.decode("cp1251")) == ("text/plain;charset=windows-1251", "Привет")


def test_a_text_that_only_speaks_of_a_data_url_is_a_text() -> None:
    text = 'data: text/plain; name="a, b", and so on'
    assert blob_content(FieldType.TEXT, text, None) == ("text/plain", text.encode())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (r'{"name": "\u041f\u0440"}', "application/json"),
        ('[\n {"name": "\\u041f"}\n]', "application/json"),
        ('{"a": "\\u041f"}\n{"a": 1}\n', "application/json"),
        ('{"name": "plain"}', "text/plain"),
        (r"{\rtf1\ansi \u233? }", "text/plain"),
        (r"[a](b) and \u00e9 [c]", "text/plain"),
        ('<?xml version="1.0"?><article><title>My guide</title></article>', "text/plain"),
        ('<?xml version="1.0"?><html><title>My page</title></html>', "text/html"),
    ],
)
def test_a_text_of_which_nothing_is_said_is_what_it_evidently_is(text: str, kind: str) -> None:
    assert blob_content(FieldType.TEXT, text, None)[0] == kind


@pytest.mark.parametrize("kind", ["application/x-javascript", "application/graphql", "application/ndjson"])
def test_a_text_under_an_older_name_is_taken(kind: str) -> None:
    assert blob_content(FieldType.TEXT, "let x", kind)[0] == kind
