"""Filters as customers write them: what each means, what is refused, and that narrowing never loses a match."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from core.retrievers.filters import FilterRefusedError, Operator, matches, parse_filter
from core.retrievers.instants import instant_of
from core.retrievers.narrowing import narrowed
from core.storage.vectors.filters import EVERYTHING, All, AnyOf, Between, BetweenDates, Equals, Filter, Not, Some
from tests.filter_table import rows, stored_values

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


@pytest.mark.parametrize(("condition", "expected"), rows(), ids=str)
def test_the_table_in_the_documentation_holds(condition: dict[str, Any], expected: list[bool | None]) -> None:
    if None in expected:
        assert set(expected) == {None}
        with pytest.raises(FilterRefusedError) as refused:
            parse_filter(condition)
        assert refused.value.place == ("value",)
    else:
        assert [matches(parse_filter(condition), document) for document in stored_values()] == expected


def test_the_table_has_every_operator() -> None:
    assert {condition["operator"] for condition, _ in rows()} == set(Operator)


IN_ORDER = [
    ["0001-01-01T00:00:00+23:59"],
    ["1990-12-31T15:59:59-08:00", "1990-12-31T23:59:59z"],
    ["1990-12-31T15:59:60-08:00", "1990-12-31T23:59:60Z", "1991-01-01", "1991-01-01 00:00:00", "1991-01-01t00:00:00Z"],
    ["1991-01-01T00:00:00.0000000001Z", "1991-01-01T00:00:00.00000000010"],
    ["1991-01-01T00:00:00.49Z"],
    ["1991-01-01T00:00:00.5-00:00", "1991-01-01T05:30:00.500+05:30"],
    ["2026-02-28T22:30:00Z", "2026-03-01T00:30:00+02:00"],
    ["2026-03-01", "2026-03-01T00:00:00Z", "2026-02-28T23:00:00-01:00"],
    ["9999-12-31T23:59:59-23:59"],
]
"""Dates, each row later than the one before, those of one row at the same moment."""


def test_dates_are_moments_and_exactly_one_of_before_same_and_after_holds() -> None:
    dates = [(place, text) for place, row in enumerate(IN_ORDER) for text in row]
    for (asked_place, asked), (place, stored) in product(dates, dates):
        held = {
            name: matches(parse_filter({"field": "f", "operator": name, "value": asked}), {"f": stored})
            for name in ("lt", "eq", "gt", "lte", "gte", "ne")
        }
        before, same = place < asked_place, place == asked_place
        after = not before and not same
        expected = {"lt": before, "eq": same, "gt": after, "lte": not after, "gte": not before, "ne": not same}
        assert held == expected, (stored, asked)


@pytest.mark.parametrize(
    "text",
    ["soon", "2026", "2026-03", "2026-02-30", "2026-13-01", "2026-03-01T24:00:00Z", "2026-03-01T00:00:60Z",
     "2026-03-01T00:00Z", "2026-03-01T00:00:00+24:00", "2026-03-01T00:00:00+0200", "2026-03-01T00:00:00.Z",
     " 2026-03-01", "2026-03-01 ", "2026-03-01\n", "20260301", "٢٠٢٦-٠٣-٠١", "0000-01-01", "+2026-03-01",
     "2026-03-01T00:00:00." + "0" * 60],
)  # fmt: skip
def test_what_is_no_date_matches_no_date(text: str) -> None:
    for operator, date in product(("gt", "gte", "lt", "lte", "eq"), ("2026-03-01", "0001-01-01", "9999-12-31")):
        assert not matches(parse_filter({"field": "f", "operator": operator, "value": date}), {"f": text})


def test_json_knows_true_from_one_inside_lists_and_objects_too() -> None:
    for asked, stored in (([1], [True]), ({"a": 0}, {"a": False}), ([[True]], [[1]])):
        assert not matches(parse_filter({"field": "f", "value": asked}), {"f": stored})


@pytest.mark.parametrize(
    ("raw", "place", "message"),
    [
        ({"field": "a", "valeu": 3}, ("valeu",), "did you mean value?"),
        ({"feild": "a", "value": 3}, ("feild",), "did you mean field?"),
        ({"field": "a", "value": 3, "case_insensitive": True}, ("case_insensitive",), "field, operator, value"),
        ([{"field": "a", "value": 1}, {"field": "b", "oper": "ne"}], (1, "oper"), "no such key"),
        ({"AND": [{"field": "a", "value": 1}, {"OR": [{"field": "b", "operatr": "ne"}]}]},
         ("AND", 1, "OR", 0, "operatr"), "did you mean operator?"),
        ({"not": {"field": "a", "Value": 1}}, ("not", "Value"), "did you mean value?"),
        ({"ADN": [{"field": "a"}]}, ("ADN",), "did you mean AND?"),
        ({"AND": [{"field": "a"}], "value": 1}, (), "cannot stand beside"),
        ({"field": "a."}, ("field",), "dots between levels"),
        ({"field": "metadata."}, ("field",), "dots between levels"),
        ({"field": "a", "operator": "gt", "value": "2026-02-30"}, ("value",), "no such date"),
        ({"field": "a"}, ("value",), "write null"),
        ({"field": "a", "operator": "ne"}, ("value",), "write null"),
        ({"OR": [{"field": "a", "operator": "eq"}]}, ("OR", 0, "value"), "write null"),
        ({"AND": None}, ("AND",), "AND takes a condition or a list of them"),
        ({"field": "a", "value": 1, "or": "x"}, ("or",), "OR takes a condition or a list of them"),
        ({"field": "a", "operator": "gte", "value": "2026-03-01T10:00Z"}, ("value",), "with seconds"),
        ({"field": "a", "operator": "lt", "value": "2026-03-01T10:00:00+0200"}, ("value",), "with seconds"),
        ({"field": "a", "operator": "lt", "value": "2026-03-01 10:00:00,5Z"}, ("value",), "with seconds"),
        ({"field": "a", "operator": "gt", "value": "20260301T100000Z"}, ("value",), "with seconds"),
        ({"AND": [{"field": "a", "operator": "lt", "value": None}]}, ("AND", 0, "value"), "needs a number, a date"),
    ],
)  # fmt: skip
def test_nothing_in_a_filter_is_passed_over(raw: Any, place: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(FilterRefusedError) as refused:
        parse_filter(raw)
    assert refused.value.place == place
    assert message in refused.value.message


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
        ({"OR": [{"field": "a", "value": 1}, {"NOT": {"field": ""}}]}, r"OR\[1\].NOT.field"),
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
        ({"NOT": [EXACT, INEXACT]}, Not(Some((Equals("a", "x"),)))),
        ({"NOT": [INEXACT]}, EVERYTHING),
        ({"OR": [{"AND": [EXACT, INEXACT]}, EXACT]}, Some((All((Equals("a", "x"), EVERYTHING)), Equals("a", "x")))),
        (
            {"field": "a", "operator": "gt", "value": "2026-03-01T02:00:00.5+02:00"},
            BetweenDates("a", at_least="2026-02-28T23:59:59+00:00"),
        ),
        (
            {"field": "a", "operator": "lte", "value": "2026-03-01"},
            BetweenDates("a", at_most="2026-03-01T00:00:01+00:00"),
        ),
        (
            {"field": "a", "value": "2026-03-01"},
            BetweenDates("a", "2026-02-28T23:59:59+00:00", "2026-03-01T00:00:01+00:00"),
        ),
        ({"field": "a", "operator": "ne", "value": "2026-03-01"}, EVERYTHING),
        ({"NOT": {"field": "a", "operator": "lt", "value": "2026-03-01"}}, EVERYTHING),
        ({"field": "a", "operator": "lt", "value": "0001-01-01T00:00:00+23:00"}, EVERYTHING),
    ],
)
def test_narrowing_translates_what_is_exact(raw: Any, expected: Filter) -> None:
    assert narrowed(parse_filter(raw)) == expected


_DATES = ["2026-03-01", "2026-03-01T02:00:00+02:00", "2026-03-01T00:00:00.5Z", "2026-02-28T23:59:59z", "soon"]
_VALUES = st.sampled_from(["x", "y", 0, 1, 1.5, True, None, ["x", 1], [], *_DATES, _DATES[1:3]])
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
    try:
        expression = parse_filter(raw)
    except ValueError:
        reject()
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
        case BetweenDates(_, earliest, latest):
            moments = [moment for element in elements if (moment := instant_of(element)) is not None]
            first, last = instant_of(earliest), instant_of(latest)
            return any((not first or first <= moment) and (not last or moment <= last) for moment in moments)
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
