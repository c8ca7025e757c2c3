"""No value comes through a redactor, in any of the forms in which values come back."""

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.vault.redaction import MASK, Redactor

VALUE = 'sk-proj-"Ünïcode"/+ a\\b!(it\'s)<a&b=c~*'

values = st.text(st.characters(codec="utf-8"), min_size=8, max_size=60)
around = st.text(st.characters(codec="utf-8"), max_size=40)


def base64_core(value: str, before: bytes) -> str:
    """What of the base64 text of `before + value` depends on the value alone."""
    raw = value.encode()
    whole = base64.b64encode(before + raw).decode()
    start = -(-len(before) * 8 // 6)
    return whole[start : (len(before) + len(raw)) * 8 // 6]


def escaped(value: str, ways: dict[str, str]) -> str:
    """The value with some characters in another way."""
    return "".join(ways.get(character, character) for character in value)


JAVASCRIPT = {"Ü": "%C3%9C", "ï": "%C3%AF", '"': "%22", "/": "%2F", "+": "%2B", " ": "%20", "\\": "%5C"}
DOTNET = {'"': r"\u0022", "Ü": r"\u00DC", "ï": r"\u00EF", "+": r"\u002B", "\\": r"\\", "'": r"\u0027"}
GO = {'"': r"\"", "\\": r"\\", "&": r"\u0026", "<": r"\u003c", "=": r"\u003d"}
HTML = {'"': "&#34;", "'": "&#x27;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
FORMS = {
    "plain": VALUE,
    "json": json.dumps(VALUE)[1:-1],
    "json, as UTF-8": orjson.dumps(VALUE).decode()[1:-1],
    "json, slashes escaped": json.dumps(VALUE)[1:-1].replace("/", "\\/"),
    "json in json": json.dumps(json.dumps(VALUE)),
    "url": quote(VALUE, safe=""),
    "url, slashes kept": quote(VALUE),
    "form": quote_plus(VALUE),
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64, urlsafe": base64.urlsafe_b64encode(VALUE.encode()).decode(),
    "repr": repr(VALUE)[1:-1],
    "repr of bytes": repr(VALUE.encode())[2:-1],
    "url, as JavaScript": escaped(VALUE, JAVASCRIPT),
    "json, as .NET": escaped(VALUE, DOTNET),
    "json in json, as .NET": json.dumps(escaped(VALUE, DOTNET))[1:-1],
    "json, as Go": escaped(VALUE, GO),
    "html": escaped(VALUE, HTML),
    "basic authorization": base64.b64encode(b"user:" + VALUE.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_of_the_value_is_masked(form: str) -> None:
    clean = Redactor([VALUE]).text(f"before {form} after")
    assert MASK in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert form not in clean


@pytest.mark.parametrize("before", [0, 1, 2, 30, 50])
def test_base64_in_lines_is_masked_wherever_they_end(before: int) -> None:
    value = "sk-proj-" + "aB3_xY9-" * 20
    lines = base64.encodebytes(b"a" * before + value.encode()).decode()
    for text in (lines, lines.replace("\n", "\r\n"), json.dumps(lines), json.dumps(json.dumps(lines))):
        clean = Redactor([value]).text(text)
        assert MASK in clean
        assert len(clean) < len(text) - 200


def test_lower_case_escapes_of_a_url_are_masked() -> None:
    assert Redactor(["a/b+c=d&e"]).text("key=a%2fb%2bc%3dd%26e;") == f"key={MASK};"


@pytest.mark.parametrize("value", ["\\" * 40 + "x", '"\\' * 20 + "x", "\\u0041" * 8, "+ " * 20, "&amp;" * 8])
def test_a_value_that_is_all_escapes_is_looked_for_once(value: str) -> None:
    # what matches nearly, over and over, must not be tried in every way
    for near in (value[:-1], value.replace("x", "y"), "\\" * 5000, "%5C" * 5000):
        Redactor([value]).text(near * 4)
    assert value not in Redactor([value]).text(f"{value} {json.dumps(value)}")


@given(value=values, before=around, after=around)
def test_the_value_is_in_no_text(value: str, before: str, after: str) -> None:
    assert value not in Redactor([value]).text(before + value + after)


@given(value=values, before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_the_value_is_in_no_base64_wherever_it_begins(value: str, before: bytes, after: bytes) -> None:
    content = before + value.encode() + after
    core = base64_core(value, before)
    for encode, form in (
        (base64.b64encode, core),
        (base64.urlsafe_b64encode, core.replace("+", "-").replace("/", "_")),
    ):
        text = encode(content).decode()
        assert form in text
        assert form not in Redactor([value]).text(text)


@given(values=st.lists(values, min_size=1, max_size=4), before=around, after=around)
def test_of_several_values_none_is_in_a_text(values: list[str], before: str, after: str) -> None:
    clean = Redactor(values).text(before + "".join(values) + after)
    assert not [value for value in values if value in clean]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | around,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(around, inner, max_size=4),
    max_leaves=10,
)


@given(value=values, structure=json_values)
def test_the_value_is_nowhere_in_a_structure(value: str, structure: Any) -> None:
    nested = {"a": [structure, {value: value}, (f"x{value}", [value])], value: structure}
    clean = Redactor([value]).json(nested)
    assert not [text for text in texts(clean) if value in text]


@given(structure=json_values)
def test_what_holds_no_value_stays_as_it_is(structure: Any) -> None:
    assert Redactor(["a value that nobody has"]).json(structure) == structure
    assert Redactor([]).json(structure) is structure


def test_a_value_of_digits_is_masked_as_a_number_too() -> None:
    redactor = Redactor(["1234567890"])
    assert redactor.json({"n": 1234567890, "m": 12, "b": True}) == {"n": MASK, "m": 12, "b": True}


def test_a_value_that_a_mask_would_make_up_again_is_taken_away() -> None:
    value = f"left{MASK}right"
    redactor = Redactor([value, "the other value"])
    assert value not in redactor.text("leftthe other valueright")
    for awkward in (MASK, MASK[:8], MASK * 2):
        assert awkward not in Redactor([awkward, "12345678"]).text(f"{awkward} 12345678 {MASK}")


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in [*texts(name), *texts(item)]]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts(item)]
    return []
