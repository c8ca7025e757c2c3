"""Redis away: one caller a second finds out, the others are told at once."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from core.storage.redis_memory import RedisMemory, unless_away


@dataclass
class Line:
    """A Redis that answers or not, under a clock that the test sets."""

    answers: bool = False
    tried: int = 0
    now: float = 100.0

    def ask(self) -> str:
        self.tried += 1
        if not self.answers:
            raise RedisConnectionError("away")
        return "here"


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def memory(line: Line) -> RedisMemory:
    return RedisMemory(lambda: line.now)


def told(memory: RedisMemory, ask: Callable[[], str]) -> str | None:
    return unless_away(lambda: memory.call(ask))


def test_a_failure_is_remembered_for_a_second(line: Line, memory: RedisMemory) -> None:
    assert [told(memory, line.ask) for _ in range(10)] == [None] * 10
    assert (line.tried, memory.is_away) == (1, True)
    line.now += 0.99
    assert told(memory, line.ask) is None
    assert line.tried == 1
    line.now += 0.01
    assert [told(memory, line.ask) for _ in range(10)] == [None] * 10
    assert line.tried == 2


def test_the_first_answer_ends_it(line: Line, memory: RedisMemory) -> None:
    told(memory, line.ask)
    line.answers = True
    assert told(memory, line.ask) is None
    line.now += 1
    assert [told(memory, line.ask) for _ in range(3)] == ["here"] * 3
    assert not memory.is_away


def test_while_one_tries_again_the_others_do_not(line: Line, memory: RedisMemory) -> None:
    told(memory, line.ask)
    line.now += 1
    line.answers = True

    def ask_while_another_asks() -> str:
        assert told(memory, line.ask) is None
        return line.ask()

    assert told(memory, ask_while_another_asks) == "here"
    assert line.tried == 2


def test_whoever_asks_hears_it_as_the_driver_says_it(line: Line, memory: RedisMemory) -> None:
    for _ in range(2):
        with pytest.raises(RedisConnectionError):
            memory.call(line.ask)


def test_a_redis_that_answers_with_an_error_is_here(line: Line, memory: RedisMemory) -> None:
    def refuses() -> str:
        raise ResponseError("NOSCRIPT")

    told(memory, line.ask)
    line.now += 1
    assert told(memory, refuses) is None
    assert not memory.is_away


def test_a_fault_of_ours_is_not_taken_for_an_outage(memory: RedisMemory) -> None:
    def wrong() -> str:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        told(memory, wrong)


def test_it_refuses_for_a_second_after_a_failure_whoever_asks_or_not() -> None:
    now = [0.0]
    memory = RedisMemory(lambda: now[0])

    def fails() -> None:
        raise RedisConnectionError

    assert not memory.refuses
    with pytest.raises(RedisConnectionError):
        memory.call(fails)
    assert memory.refuses
    now[0] = 1.1
    assert not memory.refuses, "nobody may have asked since"
    assert memory.is_away
