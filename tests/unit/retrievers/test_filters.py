"""Filters as customers write them: what each means, what is refused, and that narrowing never loses a match."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.retrievers.filters import Operator, matches, narrowed, parse_filter
from core.storage.vectors.filters import EVERYTHING, All, AnyOf, Between, Equals, Filter, Not, Some

DOCUMENT: dict[str, Any] = {
    "title": "Rotating Keys",
    "pages": 12,
    "rating": 4.5,
    "open": True,
    "tags": ["Vault", "keys"],
    "author": {"name": "Ada"},
    "gone": None,
}


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("title", "eq", "Rotating Keys", True),
        ("title", "eq", "rotating keys", False),
        ("pages", "eq", 12.0, True),
        ("open", "eq", True, True),
        ("open", "eq", 1, False),
        ("tags", "eq", "keys", True),
        ("tags", "eq", ["Vault", "keys"], True),
        ("author.name", "eq", "Ada", True),
        ("metadata.author.name", "eq", "Ada", True),
        ("missing", "eq", None, True),
        ("title", "ne", "x", True),
        ("missing", "ne", "x", True),
        ("tags", "ne", "keys", False),
        ("pages", "gt", 11, True),
        ("pages", "gt", 12, False),
        ("pages", "gte", 12, True),
        ("rating", "lt", 5, True),
        ("rating", "lte", 4, False),
        ("pages", "gt", "11", False),
        ("missing", "lt", 1, False),
        ("title", "gte", "R", True),
        ("pages", "in", [1, 12], True),
        ("tags", "in", ["x", "keys"], True),
        ("tags", "nin", ["x"], True),
        ("tags", "not_in", ["keys"], False),
        ("title", "contains", "ting", True),
        ("tags", "contains", "keys", True),
        ("tags", "contains", "zzz", False),
        ("pages", "contains", "1", False),
        ("title", "starts_with", "Rot", True),
        ("title", "ends_with", "Keys", True),
        ("pages", "ends_with", "2", False),
        ("title", "text", "keys rotating", True),
        ("title", "text", "keys rotate", False),
        ("gone", "exists", True, False),
        ("gone", "exists", False, True),
        ("title", "exists", None, True),
        ("gone", "is_null", True, True),
        ("title", "is_null", True, False),
    ],
)
def test_each_operator_means_what_it_says(field: str, operator: str, value: Any, expected: bool) -> None:
    condition = parse_filter({"field": field, "operator": operator, "value": value})
    assert matches(condition, DOCUMENT) is expected


def test_case_can_be_ignored() -> None:
    for raw in (
        {"field": "title", "value": "rotating KEYS"},
        {"field": "tags", "operator": "in", "value": ["vAULT"]},
        {"field": "title", "operator": "starts_with", "value": "rot"},
    ):
        assert matches(parse_filter(raw), DOCUMENT, ignore_case=True)
        assert not matches(parse_filter(raw), DOCUMENT)


@pytest.mark.parametrize(
    ("found", "operator", "value"),
    [
        ("Cafe\u0301 Müller", "text", "CAFÉ"),
        ("the ﬁle", "text", "file"),
        ("Die Straße", "text", "strasse"),
        ("İstanbul", "text", "istanbul"),
        ("東京都の天気予報", "text", "天気"),
        ("ﾃﾞｰﾀの設計", "text", "データ"),
        ("학교에서 책을", "text", "책 학교"),
        ("Shipped 🎉", "text", "🎉"),
        ("user_id", "text", "id"),
    ],
)
def test_text_knows_words_as_the_search_does(found: str, operator: str, value: str) -> None:
    assert matches(parse_filter({"field": "a", "operator": operator, "value": value}), {"a": found})


@pytest.mark.parametrize(
    ("found", "operator", "value"),
    [
        ("Cafe\u0301", "eq", "CAFÉ"),
        (["x", "Straße"], "in", ["STRASSE"]),
        ("ﬁle.txt", "starts_with", "FILE"),
        ("in İstanbul", "ends_with", "istanbul"),
        ("ｶﾞｲﾄﾞ", "contains", "イド"),
        (["DİYARBAKIR"], "contains", "diyarbakır"),
    ],
)
def test_ignoring_case_ignores_how_a_letter_is_written(found: Any, operator: str, value: Any) -> None:
    condition = parse_filter({"field": "a", "operator": operator, "value": value})
    assert matches(condition, {"a": found}, ignore_case=True)
    assert not matches(condition, {"a": found})


def test_groups_join() -> None:
    yes, no = {"field": "pages", "value": 12}, {"field": "pages", "value": 13}
    assert matches(parse_filter({"AND": [yes, {"OR": [no, yes]}]}), DOCUMENT)
    assert not matches(parse_filter({"and": [yes, no]}), DOCUMENT)
    assert matches(parse_filter({"NOT": no}), DOCUMENT)
    assert not matches(parse_filter({"NOT": [no, yes]}), DOCUMENT)
    assert matches(parse_filter([yes, yes]), DOCUMENT)
    assert not matches(parse_filter({"AND": [yes], "NOT": [yes]}), DOCUMENT)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "expected field"),
        ({}, "field: a field name"),
        ({"field": "a", "operator": "like"}, "operator: 'like' is not one of eq"),
        ({"field": "a", "operator": "regex", "value": "x"}, "operator: 'regex'"),
        ({"field": "a", "operator": "in", "value": "x"}, "value: in needs a list"),
        ({"field": "a", "operator": "text", "value": 1}, "value: text needs text"),
        ({"field": "a", "operator": "text", "value": " … "}, "value: text needs at least one word"),
        ({"field": "a", "operator": "exists", "value": "x"}, "needs true or false"),
        ({"field": "a", "operator": ["eq"]}, r"operator: \['eq'\] is not one of"),
        ({"field": "a", "operator": {}}, "operator: {} is not one of"),
        ({"AND": []}, "AND: needs at least one"),
        ({"OR": [{"field": "a"}, {"NOT": {"field": ""}}]}, r"OR\[1\].NOT\[0\].field"),
        ({"AND": [{"field": "a"}], "field": "b"}, "cannot stand beside"),
        ({"field": "a", "operator": "in", "value": "{{INPUT.x}}"}, "needs a list"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(raw: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_filter(raw)


def test_an_error_does_not_repeat_all_that_was_sent() -> None:
    with pytest.raises(ValueError, match="is not one of") as refused:
        parse_filter({"field": "a", "operator": "x" * 100_000})
    assert len(str(refused.value)) < 300


def test_nesting_is_bounded() -> None:
    raw: Any = {"field": "a", "value": 1}
    for _ in range(30):
        raw = {"NOT": raw}
    with pytest.raises(ValueError, match="nested"):
        parse_filter(raw)


def test_a_filter_has_at_most_so_many_conditions_and_choices() -> None:
    one = {"field": "a", "operator": "eq", "value": 1}
    parse_filter({"AND": [one] * 63 + [{"NOT": one}]})
    with pytest.raises(ValueError, match="65 conditions are more than 64"):
        parse_filter({"OR": [{"AND": [one] * 60}, {"NOT": [one] * 5}]})
    parse_filter({"field": "a", "operator": "in", "value": list(range(1000))})
    with pytest.raises(ValueError, match="value: nin takes at most 1000 values"):
        parse_filter({"field": "a", "operator": "nin", "value": list(range(1001))})


def test_a_template_may_stand_for_a_value_while_saving() -> None:
    parse_filter({"field": "a", "operator": "in", "value": "{{INPUT.x}}"}, templates=True)


EXACT, INEXACT = {"field": "a", "value": "x"}, {"field": "b", "operator": "contains", "value": "y"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"field": "metadata.a", "value": "x"}, Equals("a", "x")),
        ({"field": "a", "operator": "in", "value": ["x", "y"]}, AnyOf("a", ("x", "y"))),
        ({"field": "a", "operator": "ne", "value": "x"}, Not(Equals("a", "x"))),
        ({"field": "a", "operator": "gte", "value": 2}, Between("a", at_least=2.0)),
        ({"field": "a", "value": 2}, Some((Between("a", at_least=2.0, at_most=2.0),))),
        ({"field": "a", "value": True}, EVERYTHING),
        ({"field": "a", "value": 2**60}, EVERYTHING),
        ({"field": "a-b", "value": "x"}, EVERYTHING),
        ({"field": "a", "operator": "contains", "value": "x"}, EVERYTHING),
        ({"AND": [EXACT, INEXACT]}, All((Equals("a", "x"), EVERYTHING))),
        ({"OR": [EXACT, INEXACT]}, EVERYTHING),
        ({"NOT": [EXACT, INEXACT]}, EVERYTHING),
    ],
)  # fmt: skip
def test_narrowing_translates_what_is_exact(raw: Any, expected: Filter) -> None:
    assert narrowed(parse_filter(raw)) == expected


_VALUES = st.sampled_from(["x", "y", 0, 1, 1.5, True, None, ["x", 1], []])
_CONDITIONS = st.builds(
    lambda field, operator, value: {"field": field, "operator": operator, "value": value},
    st.sampled_from(["a", "b", "metadata.a"]),
    st.sampled_from([Operator.EQ, Operator.NE, Operator.GT, Operator.LTE, Operator.CONTAINS]),
    _VALUES,
)
_FILTERS = st.recursive(
    _CONDITIONS,
    lambda inner: st.builds(
        lambda name, parts: {name: parts},
        st.sampled_from(["AND", "OR", "NOT"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@given(_FILTERS, st.dictionaries(st.sampled_from(["a", "b"]), _VALUES))
def test_narrowing_never_loses_a_match(raw: Any, document: dict[str, Any]) -> None:
    expression = parse_filter(raw)
    if matches(expression, document):
        assert _passes(narrowed(expression), document)


def _passes(filter: Filter, document: dict[str, Any]) -> bool:
    """The engine's reading of a filter, as tests/contract/test_vectors.py shows it of the real engines."""
    match filter:
        case All(parts):
            return all(_passes(part, document) for part in parts)
        case Some(parts):
            return any(_passes(part, document) for part in parts)
        case Not(inner):
            return not _passes(inner, document)
    found = document.get(filter.field)
    elements = found if isinstance(found, list) else [found]
    match filter:
        case Equals(_, value):
            return value in elements
        case AnyOf(_, values):
            return any(element in values for element in elements)
        case Between(_, above, at_least, below, at_most):
            return any(
                isinstance(element, int | float)
                and not isinstance(element, bool)
                and (above is None or element > above)
                and (at_least is None or element >= at_least)
                and (below is None or element < below)
                and (at_most is None or element <= at_most)
                for element in elements
            )
