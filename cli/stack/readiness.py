"""Asks each service whether it works, in its own protocol and without patience. It never waits for one."""

import http.client
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from config.forms import hosts_of
from config.redaction import redacted
from config.refusals import variable
from config.settings import Settings
from core.errors import UnavailableError
from core.health import Heartbeats, worker_is_stalled
from core.jobs.queue import JobQueue
from core.storage.failures import away
from core.storage.handles import Handles
from core.storage.mongo import close, connect, database_clock, within

_TIMEOUT_SECONDS = 2.0
_NAMED = {"mongo_url": 27017, "redis_url": 6379, "ray_address": 6380}
"""Settings that name a server, and where it usually listens."""


def accepts(address: str) -> bool:
    """Whether something listens on `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def require_named(settings: Settings) -> None:
    """Raise UnavailableError when a server that the settings name, in place of an embedded one, does not listen."""
    for name, usual_port in _NAMED.items():
        url = getattr(settings, name)
        # what stands behind a service record is found by the driver
        if name not in settings.model_fields_set or url.startswith("mongodb+srv://"):
            continue
        places = [urlsplit(f"//{host}") for host in hosts_of(url)]
        if not any(accepts(f"{place.hostname}:{place.port or usual_port}") for place in places):
            raise UnavailableError(f"{variable(name)} names {redacted(url)}, and nothing answers there")


def redis_answers(address: str) -> bool:
    """Whether a Redis at `host:port` has loaded its data: before that it answers PING with LOADING."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def mongo_is_primary(url: str, address: str, replica_set: str | None) -> bool:
    """Whether the MongoDB-wire server takes writes. One that waits to become a `replica_set` is made one."""
    # first the port: the client would wait long for a server that is not there yet
    return accepts(address) and _unless_away(lambda: _is_primary(url, address, replica_set))


def _is_primary(url: str, address: str, replica_set: str | None) -> bool:
    with closing(connect(url).client) as client:
        hello = client.admin.command("hello")
        if replica_set and "setName" not in hello:
            members = [{"_id": 0, "host": address}]
            client.admin.command("replSetInitiate", {"_id": replica_set, "members": members})
        return bool(hello.get("isWritablePrimary"))


def http_answers(address: str, path: str, certificate: Path | None = None) -> bool:
    """Whether a GET at `host:port` gives 200; over TLS from the holder of exactly this certificate, if one is given."""
    with closing(api_connection(address, certificate, tls=certificate is not None)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def api_connection(address: str, certificate: Path | None, tls: bool) -> http.client.HTTPConnection:
    """A connection to the API; over TLS from the holder of this certificate, or of one that the machine believes."""
    if not tls:
        return http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
    if certificate is None:
        return http.client.HTTPSConnection(address, timeout=_TIMEOUT_SECONDS)
    trust = ssl.create_default_context(cafile=str(certificate))
    # it is made for the name that customers use, not for this address
    trust.check_hostname = False
    # the certificate itself is believed, whoever signed it
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return http.client.HTTPSConnection(address, timeout=_TIMEOUT_SECONDS, context=trust)


class StackDatabase:
    """What the supervisor reads from the stack's MongoDB: heartbeats, and whether due work waits. Close it."""

    def __init__(self, settings: Settings, mongo_url: str) -> None:
        self._database = connect(mongo_url, settings.mongo_tls)
        handles, clock = Handles(self._database), database_clock(self._database)
        self._heartbeats = Heartbeats(handles, clock)
        self._queue = JobQueue(handles, clock, settings.job_lease_seconds)
        self._clock = clock

    def has_heartbeat(self, role: str, pid: int) -> bool:
        """Whether the process with this id has said lately that it lives."""
        return _unless_away(lambda: self._has_heartbeat(f"{role}:{socket.gethostname()}:{pid}", role))

    def worker_stalls(self) -> bool:
        """Whether work is due and no worker with a free slot takes it."""
        return _unless_away(lambda: worker_is_stalled(self._queue, self._heartbeats, self._clock))

    def close(self) -> None:
        """Close the connections."""
        close(self._database)

    def _has_heartbeat(self, name: str, role: str) -> bool:
        beats = self._heartbeats.fresh(role)
        return any(beat.name == name or beat.name.startswith(f"{name}:") for beat in beats)


def _unless_away(ask: Callable[[], bool]) -> bool:
    """The answer; False while the database is away, which is noticed elsewhere."""
    try:
        with within(_TIMEOUT_SECONDS):
            return ask()
    except Exception as error:
        if away(error) is None:
            raise
        return False
