"""Ports of a stack are free, distinct and remembered."""

import socket

import pytest

from cli.stack.layout import DataDirectory
from cli.stack.ports import LOCALHOST, choose_ports, is_free, remembered_ports, require_host
from core.errors import ConflictError, UnavailableError


def test_each_name_gets_a_port_of_its_own_that_is_free(layout: DataDirectory) -> None:
    names = [f"server{number}" for number in range(20)]
    chosen = choose_ports(layout, names, asked={}, hosts={})
    assert len(set(chosen.values())) == 20
    assert all(is_free(port, LOCALHOST) for port in chosen.values())


def test_a_remembered_port_is_kept_while_it_is_free(layout: DataDirectory) -> None:
    first = choose_ports(layout, ["api", "redis"], asked={}, hosts={})
    assert choose_ports(layout, ["api", "redis"], asked={}, hosts={}) == first
    with socket.create_server((LOCALHOST, first["api"])):
        again = choose_ports(layout, ["api", "redis"], asked={}, hosts={})
    assert again["api"] != first["api"]
    assert again["redis"] == first["redis"]


def test_an_asked_port_wins_and_a_taken_one_is_refused(layout: DataDirectory) -> None:
    choose_ports(layout, ["api"], asked={}, hosts={})
    with socket.create_server((LOCALHOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port {port} \\(api\\) is in use"):
            choose_ports(layout, ["api"], asked={"api": port}, hosts={})
    assert choose_ports(layout, ["api"], asked={"api": port}, hosts={}) == {"api": port}


def test_ports_of_servers_that_are_not_started_now_stay_remembered(layout: DataDirectory) -> None:
    first = choose_ports(layout, ["api", "mongo"], asked={}, hosts={})
    choose_ports(layout, ["api"], asked={}, hosts={})
    assert remembered_ports(layout) == first


def test_the_usual_port_is_taken_or_the_next_that_is_free(layout: DataDirectory) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        usual = server.getsockname()[1]
        (chosen,) = choose_ports(layout, ["api"], asked={}, hosts={}, first={"api": usual}).values()
    assert usual < chosen <= usual + 20
    # free again, but the one of the last start is tried first
    assert choose_ports(layout, ["api"], asked={}, hosts={}, first={"api": usual}) == {"api": chosen}
    with socket.create_server((LOCALHOST, chosen)):
        assert choose_ports(layout, ["api"], asked={}, hosts={}, first={"api": usual}) == {"api": usual}


def test_an_asked_port_is_not_replaced_by_the_next(layout: DataDirectory) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConflictError, match="it was asked for"):
            choose_ports(layout, ["api"], asked={"api": port}, hosts={}, first={"api": port})
    assert remembered_ports(layout) == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])  # noqa: S104 - a setting of an operator's
def test_a_host_of_this_machine_is_taken(host: str) -> None:
    require_host(host)


@pytest.mark.parametrize("host", ["192.0.2.7", "[::1]", "no such host", "a" * 80, ""])
def test_a_host_where_nothing_can_listen_is_named(host: str) -> None:
    with pytest.raises(UnavailableError, match=r"KEYSTAGE_API_HOST names .*, which is no address of this machine"):
        require_host(host)
