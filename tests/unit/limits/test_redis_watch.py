"""Redis away: one caller a second finds out, the others are told at once."""

from dataclasses import dataclass

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from core.limits.redis_rates import RedisWatch


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
def watch(line: Line) -> RedisWatch:
    return RedisWatch(lambda: line.now)


def test_a_failure_is_remembered_for_a_second(line: Line, watch: RedisWatch) -> None:
    assert [watch.call(line.ask) for _ in range(10)] == [None] * 10
    assert line.tried == 1
    line.now += 0.99
    assert watch.call(line.ask) is None
    assert line.tried == 1
    line.now += 0.01
    assert [watch.call(line.ask) for _ in range(10)] == [None] * 10
    assert line.tried == 2


def test_the_first_answer_ends_it(line: Line, watch: RedisWatch) -> None:
    watch.call(line.ask)
    line.answers = True
    assert watch.call(line.ask) is None
    line.now += 1
    assert [watch.call(line.ask) for _ in range(3)] == ["here"] * 3


def test_while_one_tries_again_the_others_do_not(line: Line, watch: RedisWatch) -> None:
    watch.call(line.ask)
    line.now += 1
    line.answers = True

    def ask_while_another_asks() -> str:
        assert watch.call(line.ask) is None
        return line.ask()

    assert watch.call(ask_while_another_asks) == "here"
    assert line.tried == 2


def test_a_fault_of_ours_is_not_taken_for_an_outage(watch: RedisWatch) -> None:
    def wrong() -> str:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        watch.call(wrong)
