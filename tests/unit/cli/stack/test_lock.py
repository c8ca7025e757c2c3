"""One holder at a time of a data directory, and whoever comes second learns who it is."""

import os

from cli.stack.layout import DataDirectory, write_json
from cli.stack.lock import RunningStack, StackLock, running_stack


def test_the_second_one_learns_who_holds_the_lock(layout: DataDirectory) -> None:
    with StackLock(layout) as first:
        assert first.take() is None
        assert StackLock(layout).take() == RunningStack(os.getpid(), None)
        write_json(layout.ready, {"api_url": "http://127.0.0.1:1"})
        assert StackLock(layout).take() == RunningStack(os.getpid(), "http://127.0.0.1:1")
    with StackLock(layout) as second:
        assert second.take() is None


def test_asking_who_runs_does_not_change_who_runs(layout: DataDirectory) -> None:
    assert running_stack(layout) is None
    assert not layout.lock.exists()
    with StackLock(layout) as lock:
        lock.take()
        assert running_stack(layout) == RunningStack(os.getpid(), None)
        assert running_stack(layout) == RunningStack(os.getpid(), None)
    assert running_stack(layout) is None
