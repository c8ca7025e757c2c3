"""The calls that clients make to Redis while something runs, as Redis reports them, what scripts do apart."""

from collections.abc import Callable

from redis import Redis

_HANDSHAKE = {"CLIENT", "HELLO", "AUTH", "SELECT"}


def calls_of(redis: Redis, act: Callable[[], object]) -> list[str]:
    """The names of the commands, in order, connections being made apart."""
    names: list[str] = []
    with redis.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        act()
        redis.echo("end-of-act")
        for seen in monitor.listen():
            if "end-of-act" in seen["command"]:
                return names
            name = seen["command"].split()[0].upper()
            if seen["client_type"] != "lua" and name not in _HANDSHAKE:
                names.append(name)
    raise EOFError("Redis ended before the calls did")
