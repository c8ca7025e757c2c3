"""Whether MongoDB is away, by the driver's own heartbeats: when no server answers, and none is known otherwise."""

from types import SimpleNamespace
from typing import Any

from core.storage.mongo import Pulse


def of(name: str) -> Any:
    """An event of one server."""
    return SimpleNamespace(connection_id=(name, 27017), server_address=(name, 27017))


def test_nobody_knows_before_the_first_heartbeat() -> None:
    assert not Pulse().is_away


def test_it_is_away_when_no_server_answers() -> None:
    pulse = Pulse()
    pulse.failed(of("a"))
    assert pulse.is_away
    pulse.succeeded(of("b"))
    assert not pulse.is_away
    pulse.failed(of("b"))
    assert pulse.is_away
    pulse.succeeded(of("a"))
    assert not pulse.is_away


def test_a_server_that_left_the_set_tells_nothing_any_more() -> None:
    pulse = Pulse()
    pulse.succeeded(of("seed"))
    pulse.failed(of("a"))
    assert not pulse.is_away
    pulse.closed(of("seed"))
    assert pulse.is_away
