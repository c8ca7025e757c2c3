"""When a delivery is tried again."""

from datetime import timedelta

from core.webhooks.schedule import next_delay


def test_the_schedule_is_walked_and_then_exhausted() -> None:
    delays = [next_delay([5, 60], tries, jitter=0) for tries in (1, 2, 3)]
    assert delays == [timedelta(seconds=5), timedelta(seconds=60), None]


def test_jitter_moves_a_delay_by_a_fifth() -> None:
    assert next_delay([10], 1, jitter=1) == timedelta(seconds=12)
    assert next_delay([10], 1, jitter=-1) == timedelta(seconds=8)


def test_what_the_endpoint_asks_for_is_a_floor() -> None:
    assert next_delay([5], 1, jitter=0, floor=timedelta(hours=1)) == timedelta(hours=1)
    assert next_delay([5], 1, jitter=0, floor=timedelta(seconds=1)) == timedelta(seconds=5)
