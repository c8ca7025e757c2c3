"""A full disk is named once when it fills up and once when it has room again."""

from collections import namedtuple

import pytest
from structlog.testing import capture_logs

from cli.stack.disk_watch import DiskWatch
from cli.stack.layout import DataDirectory
from core.storage import disk

_Usage = namedtuple("_Usage", ["total", "used", "free"])
_ROOM = 10 * disk.FULL_BELOW_BYTES


def test_a_disk_that_fills_up_and_is_freed_is_named_once_each(
    layout: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([_ROOM, 0, 0, 1000, _ROOM, _ROOM])
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage(0, 0, next(free)))
    watch = DiskWatch(layout, interval_seconds=0)
    with capture_logs() as lines:
        for _ in range(6):
            watch.look()
    assert [(line["event"], line["log_level"], line["free_bytes"]) for line in lines] == [
        ("disk.full", "error", 0),
        ("disk.has_room", "info", _ROOM),
    ]
    assert lines[0]["path"] == str(layout.root)


def test_it_does_not_look_at_every_turn(layout: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([_Usage(0, 0, _ROOM)])
    monkeypatch.setattr("shutil.disk_usage", lambda _: next(looks))
    watch = DiskWatch(layout, interval_seconds=3600)
    # a second look would find nothing left
    watch.look()
    watch.look()
