"""Whether MongoDB is away, by the driver's own heartbeats: when no server answers, and none is known otherwise.

What follows for who is kept waiting is held here by the driver's bounds, which no busy machine changes.
"""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import BackendAwayError
from core.ids import Prefix, random_id
from core.storage.handles import Handles
from core.storage.mongo import Pulse, connect_impatiently
from core.storage.scope import NamespaceScope

LOOKS_UP_SECONDS = 0.5
"""How often the driver looks whether the server that it waits for is still known to be there."""


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


def test_one_that_is_known_to_be_away_is_not_asked() -> None:
    # whoever asked it would touch what is no database
    handles = Handles(None, lambda: True)  # type: ignore[arg-type]
    scope = NamespaceScope(random_id(Prefix.INTERNAL), random_id(Prefix.NAMESPACE))
    for ask in (
        lambda: handles.namespace(scope)["events"],
        lambda: handles.organization(scope)["events"],
        lambda: handles.system["organizations"],
    ):
        with pytest.raises(BackendAwayError):
            ask()


def test_what_a_request_waits_for_fits_into_the_three_seconds_that_are_promised() -> None:
    database, _ = connect_impatiently("mongodb://127.0.0.1:1/")
    try:
        options = database.client.options
        # until the driver's next question, for the answer to it, until it looks up, and for a server to be chosen
        waits = (
            options.heartbeat_frequency,
            options.pool_options.connect_timeout or math.inf,
            LOOKS_UP_SECONDS,
            options.server_selection_timeout,
        )
        assert sum(waits) <= 3
    finally:
        database.client.close()
