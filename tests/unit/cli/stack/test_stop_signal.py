"""The first signal asks to stop; only a second Ctrl-C, pressed on purpose, asks to stop at once."""

import os
import signal
from collections.abc import Iterator

import pytest

from cli.stack.stop_signal import StopSignal

_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[StopSignal]:
    """One that listens, on a clock of the test's own."""
    before = {number: signal.getsignal(number) for number in _ALL}
    moments = iter(range(100))
    monkeypatch.setattr("cli.stack.stop_signal.time.monotonic", lambda: float(next(moments)))
    stop = StopSignal()
    stop.listen()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", _ALL)
def test_one_signal_asks_to_stop_in_order(stop: StopSignal, number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    assert stop.stopping.is_set()
    assert not stop.at_once.is_set()


@pytest.mark.parametrize(
    ("first", "second", "at_once"),
    [
        (signal.SIGINT, signal.SIGINT, True),
        (signal.SIGTERM, signal.SIGINT, True),
        (signal.SIGINT, signal.SIGTERM, False),
        (signal.SIGINT, signal.SIGHUP, False),
    ],
)
def test_ctrl_c_again_asks_to_stop_at_once(
    stop: StopSignal, first: signal.Signals, second: signal.Signals, at_once: bool
) -> None:
    os.kill(os.getpid(), first)
    os.kill(os.getpid(), second)
    assert stop.at_once.is_set() == at_once


def test_one_press_that_arrives_twice_is_one(stop: StopSignal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.stack.stop_signal.time.monotonic", lambda: 7.0)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.stopping.is_set()
    assert not stop.at_once.is_set()
