"""JSON among what models write around it: what is a value, what is none, and all of it in one look at the text."""

from typing import Any

import pytest

from core.plain_values import INT64
from pipelines.llm.json_in_text import json_values

FENCE = "```"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": 1}', [{"a": 1}]),
        ('\ufeff{"a": 1}', [{"a": 1}]),
        ('Here it is: {"a": 1}', [{"a": 1}]),
        ('{"a": 1}\nHope this helps!', [{"a": 1}]),
        ('{"a": 1}{"a": 2}', [{"a": 1}, {"a": 2}]),
        (f'{FENCE}JSON\n{{"a": 1}}\n{FENCE}', [{"a": 1}]),
        (f'~~~\n{FENCE}json5\n{{"a": 1}}\n{FENCE}\n~~~', [{"a": 1}]),
        (f'{{"a": "{FENCE}json\\n{{}}\\n{FENCE}"}}', [{"a": f"{FENCE}json\n{{}}\n{FENCE}"}]),
        ('{"a": "two\nlines"}', [{"a": "two\nlines"}]),
        ('{"a": "a tab\t and a bell\x07"}', [{"a": "a tab\t and a bell\x07"}]),
        ('{"a": "}{"}', [{"a": "}{"}]),
        ('{"a": "\\"{"} {}', [{"a": '"{'}, {}]),
        ('{"a": [1, 2,], "b": {"c": 3,},}', [{"a": [1, 2], "b": {"c": 3}}]),
        ('{"a": ",]", "b": ",}",}', [{"a": ",]", "b": ",}"}]),
        ('5" nails: {"a": ",}",}', [{"a": ",}"}]),
        ('[1, 2] and {"a": [3]}', [[1, 2], {"a": [3]}]),
        # prose is full of braces and brackets
        ('{name} [see] {x: 1} \\frac{1}{2} [1) {"a": 1}', [{"a": 1}]),
        ('The form is {"a": …}. So: {"a": 1}', [{"a": 1}]),
        ("", []),
        ("no value at all", []),
        ('"{}"', [{}]),
        ("7", []),
        # a guess would be needed for these
        ("{'a': 1}", []),
        ("{a: 1}", []),
        ('{"a": 1 // one\n}', []),
        ('{"a": "\\_"}', []),
        ('{"a" 1}', []),
        ('{"a": True}', []),
    ],
)
def test_what_is_a_value(text: str, values: list[Any]) -> None:
    assert json_values(text) == values


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [{"b": 1}, {"b": 2}, {"b"',
        '{"a": [{"b": 1}, {"b": 2}, ',
        '{"a": {"b": 1}',
        '{"a": {"b": 1},',
        '{"a": "he wrote {} and',
        '[{"a": 1}, {"a": 2}',
        '{"a": {"b": 1}\n```\n',
    ],
)
def test_parts_of_a_value_that_is_cut_are_none(text: str) -> None:
    assert json_values(text) == []
    assert json_values('{"whole": 1} ' + text) == [{"whole": 1}]


@pytest.mark.parametrize(
    "text",
    [
        "{" * 2_000_000,
        "[" * 2_000_000,
        '{"' * 1_000_000,
        '{"a":' * 400_000,
        '{"a":[' * 300_000,
        "{ " * 1_000_000,
        "{" + " " * 2_000_000,
        '{"a"' + " " * 2_000_000,
        "{}" * 1_000_000,
        '{"a": 1, x ' * 200_000,
        '"\\"' * 700_000,
        '{"a": "' + '\\"' * 1_000_000,
        '{"a": ' + ",   " * 500_000,
        "[1," * 700_000,
        "```json\n" * 250_000,
        '{"a": ' + "9" * 2_000_000 + "}",
        "\n" * 2_000_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_is_looked_at_once(text: str) -> None:
    # each of these takes hours where every brace begins a look of its own; the suite's own limit is minutes
    assert all(value in ({}, [], {"a": INT64}) for value in json_values(text))
