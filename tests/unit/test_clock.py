from datetime import datetime, timedelta

import pytest

from core.clock import DatabaseClock, now


def test_the_database_clock_tells_whole_milliseconds_as_mongodb_stores_them() -> None:
    clock = DatabaseClock(lambda: now() + timedelta(seconds=5, microseconds=500))
    moment: datetime = clock.now()
    assert moment.microsecond % 1000 == 0
    assert timedelta(seconds=4) < moment - now() < timedelta(seconds=6)


def test_the_database_clock_asks_the_database_once_a_minute_at_most() -> None:
    answers = iter([now()])
    clock = DatabaseClock(lambda: next(answers))
    assert all(clock.now() for _ in range(3))


def test_while_the_database_is_away_the_last_measurement_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([now() + timedelta(hours=1)])
    asked: list[int] = []

    def read() -> datetime:
        asked.append(1)
        for answer in answers:
            return answer
        raise ConnectionError

    monkeypatch.setattr("core.clock._OFFSET_MAX_AGE_SECONDS", 0.0)
    clock = DatabaseClock(read)
    assert clock.now() - now() > timedelta(minutes=59)
    assert clock.now() - now() > timedelta(minutes=59)
    # and it is not asked again at once
    clock.now()
    assert len(asked) == 2


def test_without_any_measurement_the_failure_is_the_callers() -> None:
    def away() -> datetime:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        DatabaseClock(away).now()


def test_nobody_waits_for_a_measurement_that_another_one_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: DatabaseClock
    inside: list[datetime] = []

    def read() -> datetime:
        if inside or clock._measured_at > float("-inf"):
            inside.append(clock.now())
        return now()

    clock = DatabaseClock(read)
    clock.now()
    monkeypatch.setattr("core.clock._OFFSET_MAX_AGE_SECONDS", -1.0)
    # it would wait for itself for ever
    clock.now()
    assert len(inside) == 1
