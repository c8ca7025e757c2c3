"""Placeholders in stage parameters: inputs only, one pass, types kept."""

from typing import Any

import pytest

from core.errors import StageError
from core.retrievers.templates import is_templated, render, unknown_placeholders

INPUTS: dict[str, Any] = {
    "query": "keys",
    "count": 5,
    "tags": ["a", "b"],
    "user": {"name": "Ada"},
    "evil": "{{INPUT.count}}",
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{INPUT.query}}", "keys"),
        (" {{ input.count }} ", 5),
        ("{{inputs.tags}}", ["a", "b"]),
        ("{{Input.user.name}}", "Ada"),
        ("about {{INPUT.query}}, {{INPUT.count}} of {{INPUT.tags}}", 'about keys, 5 of ["a", "b"]'),
        ({"a": ["{{INPUT.count}}", 1]}, {"a": [5, 1]}),
        ("{INPUT.query}", "{INPUT.query}"),
        (None, None),
        ("{{INPUT.evil}} x", "{{INPUT.count}} x"),
    ],
)
def test_placeholders_are_filled_in_once(value: Any, expected: Any) -> None:
    assert render(value, INPUTS) == expected


@pytest.mark.parametrize(
    "value",
    [
        "{{secrets.openai_api_key}}",
        "{{DOC.text}}",
        "{{INPUT}}",
        "{{INPUT.query | upper}}",
        "{{INPUT.__class__}}",
        "{{}}",
    ],
)
def test_anything_but_an_input_is_refused(value: str) -> None:
    with pytest.raises(StageError):
        render(value, INPUTS)


def test_an_input_that_was_not_given_is_named() -> None:
    with pytest.raises(StageError, match=r"user\.age"):
        render("{{INPUT.user.age}}", INPUTS)


def test_unknown_placeholders_are_found_however_deep() -> None:
    assert unknown_placeholders({"a": [{"b": "{{secrets.x}} {{INPUT.y}}"}], "c": 1}) == ["secrets.x"]


def test_only_text_can_be_a_template() -> None:
    assert is_templated("a {{INPUT.b}}")
    assert not is_templated("plain")
    assert not is_templated(["{{INPUT.b}}"])


def test_a_row_of_spaces_of_any_length_is_looked_through_once() -> None:
    # a pattern that shares the spaces out in every way would not end before this suite's own timeout
    spaces = " " * 200_000
    assert not is_templated("{{" + spaces)
    assert unknown_placeholders("{{" + spaces + "a}") == []
    assert render("{{" + spaces + "INPUT.query" + spaces + "}}", INPUTS) == "keys"


@pytest.mark.parametrize(
    "value", ["{{INPUT.long}} " * 30, ["a {{INPUT.long}}"] * 30, {"a": {"b": "{{INPUT.long}}," * 30}}]
)
def test_a_short_parameter_and_a_short_input_do_not_make_a_text_of_any_length(value: Any) -> None:
    with pytest.raises(StageError, match="more than 262144 characters"):
        render(value, {"long": "x" * 10_000})
