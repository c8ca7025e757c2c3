"""The server that goes away is absent in each way as it was told, and comes back."""

import http.client
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.away_server import BUSY, PROXY_PAGE, AwayServer, Conduct, Reply, Request, away_server, in_front_of

BODY = b"all of it, and in order"


def echo(request: Request) -> Reply:
    """What was sent, or a text."""
    return Reply(200, request.body or BODY)


@pytest.fixture
def server() -> Iterator[AwayServer]:
    """A server that works."""
    with away_server(echo) as running:
        yield running


@contextmanager
def connected(server: AwayServer, seconds: float = 10.0) -> Iterator[http.client.HTTPConnection]:
    """A connection, which is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=seconds)
    try:
        yield connection
    finally:
        connection.close()


def ask(server: AwayServer, method: str = "GET", body: bytes | None = None, seconds: float = 1.0) -> bytes:
    """One request on a connection of its own."""
    with connected(server, seconds) as connection:
        connection.request(method, "/x?y=1", body)
        return connection.getresponse().read()


ABSENCES: list[tuple[Conduct, type[Exception]]] = [
    (Conduct.REFUSES, ConnectionRefusedError),
    (Conduct.RESETS, ConnectionResetError),
    (Conduct.BREAKS_OFF, http.client.IncompleteRead),
    (Conduct.SILENT, TimeoutError),
    (Conduct.TRICKLES, TimeoutError),
]


@pytest.mark.parametrize(("conduct", "error"), ABSENCES)
def test_it_is_absent_as_told_and_comes_back(server: AwayServer, conduct: Conduct, error: type[Exception]) -> None:
    server.be(conduct)
    with pytest.raises(error):
        # less than a trickle takes from one byte to the next
        ask(server, seconds=0.3)
    server.be(Conduct.WORKS)
    assert ask(server, "POST", BODY * 1000) == BODY * 1000


@pytest.mark.skipif(sys.platform != "linux", reason="how a full queue is met is the kernel's own")
def test_one_that_is_unreachable_takes_no_connection(server: AwayServer) -> None:
    server.be(Conduct.UNREACHABLE)
    with connected(server, 0.5) as connection, pytest.raises(TimeoutError):
        connection.connect()
    server.be(Conduct.WORKS)
    assert ask(server) == BODY


@pytest.mark.parametrize("conduct", [Conduct.REFUSES, Conduct.RESETS, PROXY_PAGE])
def test_an_open_connection_meets_it_too(server: AwayServer, conduct: Conduct | Reply) -> None:
    with connected(server) as connection:
        connection.connect()
        # no other connection is opened behind our back
        connection.auto_open = 0
        connection.request("GET", "/")
        assert connection.getresponse().read() == BODY
        server.be(conduct)
        if isinstance(conduct, Reply):
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (503, PROXY_PAGE.body)
        else:
            with pytest.raises(ConnectionError):
                _asked_again(connection)


def _asked_again(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/")
    connection.getresponse()


def test_one_that_was_frozen_answers_when_it_goes_on(server: AwayServer) -> None:
    server.be(Conduct.SILENT)
    with connected(server) as connection:
        connection.request("GET", "/")
        server.be(Conduct.WORKS)
        assert connection.getresponse().read() == BODY


def test_what_is_not_chosen_is_answered(server: AwayServer) -> None:
    server.be(BUSY, chosen=lambda method, _: method == "POST")
    assert ask(server) == BODY
    assert ask(server, "POST", b"z") == BUSY.body
    assert server.requests == [("GET", "/x?y=1"), ("POST", "/x?y=1")]


def test_a_slow_link_lets_everything_through(server: AwayServer) -> None:
    server.trickle_seconds = 0.01
    server.be(Conduct.TAKES_SLOWLY)
    assert ask(server, "PUT", BODY * 10_000, seconds=10) == BODY * 10_000


def test_it_stands_in_front_of_another_one(server: AwayServer) -> None:
    with away_server(in_front_of(server.url)) as front:
        assert ask(front, "PUT", b"through") == b"through"
        assert ask(front, "HEAD") == b""
