"""The decoder: strict JSON in, plain values out, and only errors of ours whatever is sent."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.decode import MAX_DEPTH, USUAL, BodyLimits, decode_body, decode_query
from core.errors import InvalidRequestError, UnsupportedMediaError, ValidationFailedError

JSON = "application/json"

_keys = st.text(st.characters(exclude_characters="$.\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
)
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_keys, inner, max_size=5), max_leaves=10
)


@given(st.dictionaries(_keys, _values, max_size=5))
@settings(max_examples=50)
def test_what_json_says_is_what_comes_out(value: dict[str, object]) -> None:
    assert decode_body(JSON, None, json.dumps(value).encode()) == value


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=300)
def test_any_bytes_give_an_object_or_an_error_of_ours(body: bytes) -> None:
    with suppress(InvalidRequestError):
        assert isinstance(decode_body(JSON, None, body), dict)


@pytest.mark.parametrize("content_type", [None, "", JSON, "text/plain"])
def test_no_body_is_an_empty_object_whatever_its_type(content_type: str | None) -> None:
    assert decode_body(content_type, None, b"") == {}


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [(None, None), ("text/plain", None), ("application/json; charset=utf-16", None), (JSON, "gzip")],
)
def test_another_type_or_encoding_is_refused(content_type: str | None, encoding: str | None) -> None:
    with pytest.raises(UnsupportedMediaError):
        decode_body(content_type, encoding, b"{}")


@pytest.mark.parametrize(
    "parameters",
    ['; charset="UTF-8"', ";charset=utf8", "; charset = utf-8", "; odata.metadata=minimal", ";",
     "; v=1; charset=UTF-8; q=2", '; profile="a; charset=x"', "; charset=us-ascii"],
)  # fmt: skip
def test_utf8_may_be_named_and_what_else_a_type_says_makes_no_difference(parameters: str) -> None:
    assert decode_body(JSON + parameters, "identity", b"{}") == {}


@pytest.mark.parametrize("type", ["; v=1; charset=latin-1", '; profile="a"; charset=utf-16', ", application/json"])
def test_another_charset_is_refused_wherever_it_stands(type: str) -> None:
    with pytest.raises(UnsupportedMediaError):
        decode_body(JSON + type, None, b"{}")


def test_nesting_is_allowed_up_to_the_bound() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)

    assert decode_body(JSON, None, nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidRequestError, match="nested"):
            decode_body(JSON, None, nested(depth))


@pytest.mark.parametrize("item", [b"1,", b"[],", b"{},", b"[[],1],"])
def test_the_number_of_values_is_bounded(item: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="values"):
        decode_body(JSON, None, b'{"a": [' + item * USUAL.values + b"1]}")


def test_the_bound_counts_values_and_not_what_stands_in_texts() -> None:
    assert decode_body(JSON, None, b'{"a": [' + b"1," * (USUAL.values - 4) + b"1]}")
    assert decode_body(JSON, None, b'{"a": "' + b'[{,\\",' * (USUAL.text_bytes // 6) + b'"}', BodyLimits(values=9))
    few = BodyLimits(values=3)
    assert decode_body(JSON, None, b'{"a": [1]}', few)
    with pytest.raises(InvalidRequestError, match="values"):
        decode_body(JSON, None, b'{"a": [1, 2]}', few)


def test_the_length_of_a_text_is_bounded_in_bytes() -> None:
    most = BodyLimits(text_bytes=8)
    assert decode_body(JSON, None, '{"a": "éééé"}'.encode(), most)
    with pytest.raises(ValidationFailedError) as caught:
        decode_body(JSON, None, '{"a": ["ééééé"]}'.encode(), most)
    assert caught.value.problems[0].location == ("a", 0)


@pytest.mark.parametrize(
    ("body", "location"),
    [
        (b'{"a": {"$gt": 1}}', ("a", "$gt")),
        (b'{"a": [{"b.c": 1}]}', ("a", 0, "b.c")),
        (b'{"a": ["\\u0000"]}', ("a", 0)),
        (b'{"a": "\\udfff"}', ("a",)),
        (b'{"\\ud800": 1}', ()),
        (b'{"": 1}', ("",)),
        (b'{"metadata": {"": 1}}', ("metadata", "")),
        (b'{"objects": [{"metadata": {"a": {"": 1}}}]}', ("objects", 0, "metadata", "a", "")),
    ],
)
def test_what_a_store_would_misread_is_named_by_its_place(body: bytes, location: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationFailedError) as caught:
        decode_body(JSON, None, body)
    assert caught.value.problems[0].location == location


def test_a_query_is_read_as_it_is_but_for_what_no_store_may_see() -> None:
    assert decode_query("a=1&b=&c&%64=%C3%BC+%2B&") == {"a": "1", "b": "", "c": "", "d": "ü +"}
    for text in ("x%00y", "x" * (256 * 1024 + 1)):
        with pytest.raises(ValidationFailedError) as refused:
            decode_query(f"a=1&b={text}")
        assert [problem.location for problem in refused.value.problems] == [("b",)]


@pytest.mark.parametrize("query", ["a=1&a=2", "a=1&b=2&a=1", "a=1&%61=1", "a&a="])
def test_a_query_parameter_may_not_come_twice(query: str) -> None:
    with pytest.raises(ValidationFailedError) as refused:
        decode_query(query)
    assert [problem.location for problem in refused.value.problems] == [("a",)]


@pytest.mark.parametrize("query", ["a=%ff", "a=%C3", "%ff=1", "a=%ED%A0%80", "a=\xff"])
def test_a_query_that_is_no_utf8_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequestError, match="UTF-8"):
        decode_query(query)


def test_a_key_may_not_come_twice_at_any_depth() -> None:
    with pytest.raises(InvalidRequestError, match="twice"):
        decode_body(JSON, None, b'{"a": [{"b": 1, "b": 1}]}')


@pytest.mark.parametrize(
    "number", ["9223372036854775808", "-9223372036854775809", "1" * 5000, "1e400", "-1e999", "NaN"]
)
def test_a_number_that_no_store_holds_is_refused(number: str) -> None:
    with pytest.raises(InvalidRequestError):
        decode_body(JSON, None, f'{{"a": {number}}}'.encode())


def test_the_whole_range_of_64_bits_passes() -> None:
    assert decode_body(JSON, None, b'{"a": [9223372036854775807, -9223372036854775808]}')
