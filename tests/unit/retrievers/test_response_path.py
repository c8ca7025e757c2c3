"""Where in an answer a result stands: what is read of JSONPath, and what is refused."""

import pytest

from core.retrievers.response_path import steps_of


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$", []),
        ("", []),
        ("$.current", ["current"]),
        ("$['current']", ["current"]),
        ("$[\"a.b\"]['c d']", ["a.b", "c d"]),
        ("$[0].x", [0, "x"]),
        ("$.results[0].name", ["results", 0, "name"]),
        ("data.items.0.name", ["data", "items", "0", "name"]),
        ("items[10].x-y", ["items", 10, "x-y"]),
        ("@type.$ref", ["@type", "$ref"]),
        ("a b.c", ["a b", "c"]),
    ],
)
def test_names_and_places_are_read(path: str, steps: list[str | int]) -> None:
    assert steps_of(path) == steps


@pytest.mark.parametrize(
    "path",
    [
        "$..name",
        "$.items[*]",
        "$.*",
        "$.items[-1]",
        "$.items[0:2]",
        "$.a[?(@.b>1)]",
        "$.a[b]",
        "$.",
        "$.a.",
        "a..b",
        "$a",
        "$[0]x",
        "$['a",
        "$['a\"]",
        ".a",
        "$.items[9999999999]",
        "$.'a'",
    ],
)
def test_everything_else_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="names and places"):
        steps_of(path)
