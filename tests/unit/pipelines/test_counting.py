"""Tokens of an answer: a provider's count where it can be one, and an estimate within what was sent and asked for."""

from typing import Any

import pytest

from pipelines.llm.counting import usage_of
from pipelines.llm.provider import LlmRequest, Usage

ASKED = LlmRequest("m", "é" * 15, 100, system="x" * 30)
"""60 bytes."""


@pytest.mark.parametrize(
    ("read", "written", "usage"),
    [
        (11, 7, (11, 7)),
        (1060, 100, (1060, 100)),
        (1061, 101, (20, 2)),
        (10**15, 7, (20, 7)),
        (11, 10**15, (11, 2)),
        (-1, -1, (20, 2)),
        (0, 0, (20, 2)),
        (11.0, 7.0, (20, 2)),
        ("11", "7", (20, 2)),
        (True, True, (20, 2)),
        (None, None, (20, 2)),
        ([11], {"n": 7}, (20, 2)),
    ],
)
def test_what_can_be_no_count_is_estimated(read: Any, written: Any, usage: tuple[int, int]) -> None:
    assert usage_of(ASKED, "abcd", read, written) == Usage(1, *usage)


def test_an_estimate_stays_within_the_bound_that_was_asked_for() -> None:
    assert usage_of(ASKED, "x" * 10_000_000, None, None) == Usage(1, 20, 100)


def test_a_schema_is_sent_too() -> None:
    asked = LlmRequest("m", "", 100, schema={"type": "object"})
    assert usage_of(asked, "ok", None, None) == Usage(1, 6, 1)


@pytest.mark.parametrize(
    ("read", "written", "usage"), [(11, 7, (11, 7)), (None, 7, (0, 7)), (11, 10**15, (11, 0)), ("x", -1, (0, 0))]
)
def test_of_an_answer_without_text_only_what_is_counted_is_used(
    read: Any, written: Any, usage: tuple[int, int]
) -> None:
    assert usage_of(ASKED, "", read, written) == Usage(1, *usage)


def test_halves_of_a_pair_can_be_measured() -> None:
    assert usage_of(ASKED, "\ud83d" * 9, None, None).output_tokens == 3
