"""A wait that ends: for the call, and for a thread to make it in."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.beside import Bounded


def test_a_call_that_finds_no_thread_free_waits_for_one_within_its_time() -> None:
    bounded, begun, may_end = Bounded("test", most=1), threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert may_end.wait(60)
        return "slow"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(bounded.within, 60, slow)
        assert begun.wait(60)
        with pytest.raises(TimeoutError, match="too many"):
            bounded.within(0.01, lambda: "too early")
        second = pool.submit(bounded.within, 60, lambda: "second")
        may_end.set()
        assert (first.result(), second.result()) == ("slow", "second")


def test_a_call_without_an_end_is_not_waited_for() -> None:
    bounded, may_end = Bounded("test", most=1), threading.Event()
    with pytest.raises(TimeoutError, match="no answer"):
        bounded.within(0.01, lambda: may_end.wait(60))
    may_end.set()
    assert bounded.within(60, lambda: "next") == "next"


def test_what_the_call_raises_is_raised() -> None:
    def fails() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        Bounded("test", most=1).within(60, fails)
