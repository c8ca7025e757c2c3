"""The scan meets everything that is due, in reads of bounded size, and goes on reading the present."""

import asyncio
from datetime import UTC, datetime, timedelta

from core.webhooks.due_scan import DueScan

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Backlog:
    """Due items by time; counts what each read went through, as the embedded database does."""

    def __init__(self, times: list[datetime]) -> None:
        self.times = sorted(times)
        self.looked_at: list[int] = []

    async def read(self, start: datetime, end: datetime, limit: int) -> list[tuple[datetime, int]]:
        found = [(moment, number) for number, moment in enumerate(self.times) if start <= moment <= end]
        self.looked_at.append(len(found))
        return found[:limit]


def scanned(scan: DueScan, backlog: Backlog, now: datetime = NOW) -> set[int]:
    async def walk() -> set[int]:
        met = set(await scan.next_slice(backlog.read, now))
        while not scan.caught_up:
            met |= set(await scan.next_slice(backlog.read, now))
        return met

    return asyncio.run(walk())


def test_everything_of_a_long_backlog_is_met_in_bounded_reads() -> None:
    backlog = Backlog([NOW - timedelta(seconds=second) for second in range(0, 86_400, 10)])
    assert scanned(DueScan(), backlog) == set(range(8640))
    assert max(backlog.looked_at) < 3 * 1000


def test_more_items_of_one_moment_than_a_page_holds_do_not_stop_it() -> None:
    moment = NOW - timedelta(hours=1)
    met = scanned(DueScan(), Backlog([moment] * 1500 + [NOW]))
    assert {0, 999, 1500} <= met


def test_once_at_the_present_only_the_newest_is_read_until_a_restart() -> None:
    scan, backlog = DueScan(), Backlog([NOW - timedelta(hours=2), NOW - timedelta(seconds=1)])
    assert scanned(scan, backlog) == {0, 1}
    assert scanned(scan, backlog) == {1}
    scan.restart()
    assert scanned(scan, backlog) == {0, 1}


def test_what_becomes_due_between_two_reads_is_met() -> None:
    scan, backlog = DueScan(), Backlog([])
    scanned(scan, backlog)
    # visible late: it carries a time from before the last read
    backlog.times = [NOW - timedelta(milliseconds=500), NOW + timedelta(seconds=5)]
    assert scanned(scan, backlog, NOW + timedelta(seconds=6)) == {0, 1}
