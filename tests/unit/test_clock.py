from datetime import datetime, timedelta

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
