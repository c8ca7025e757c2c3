"""Values from outside: what no store or wire can hold is refused with its reason, and never becomes null."""

import pytest

from core.errors import StageError
from core.plain_values import parsed, plain


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e999", "1" * 400 + ".5"])
@pytest.mark.parametrize("text", ["{}", '{{"a": {}}}', '{{"a": [1, {{"b": {}}}]}}'])
def test_a_number_that_no_double_holds_is_refused(text: str, number: str) -> None:
    with pytest.raises(StageError, match="larger than a double holds"):
        plain(parsed(text.format(number)))


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "1" * 400, "-" + "9" * 10_000])
def test_an_integer_of_more_than_64_bits_is_refused_however_long_it_is(number: str) -> None:
    with pytest.raises(StageError, match="more than 64 bits"):
        plain(parsed(f"[{number}]"))


def test_the_largest_and_the_smallest_pass() -> None:
    text = "[1.7976931348623157e308, -9223372036854775808, 9223372036854775807, 5e-324, 1e-400]"
    assert plain(parsed(text)) == [1.7976931348623157e308, -(2**63), 2**63 - 1, 5e-324, 0.0]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}'])
def test_what_json_does_not_know_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"NaN|Infinity"):
        parsed(text)
