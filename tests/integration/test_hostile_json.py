"""Whatever is sent to a real API process: an answer, never a 500, and no memory that stays."""

import http.client
import json
import random
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import psutil
import pytest

from api.registry import ROUTES
from api.route import Route
from tests.api_process import Account, Site, site
from tests.integration.estates import Estate, furnish, new_marker
from tests.integration.hostile import JSON, headers, models_of, texts, wrong_fields
from tests.integration.test_matrix import BODIES

PER_BODY = 2
"""Routes that each hostile body is sent to."""
FIELDS_PER_ROUTE = 20
QUERIES_PER_ROUTE = 8
GROWTH_MIB = 400
"""The largest growth that is no leak: what one body of 16 MiB takes while it is read, on each side."""
SEGMENTS = ("%ff", "%00", "%ED%A0%80", "..%2f..%2fetc", "$ne", "%F0%9F%92%A9", "x" * 4_000, "a%0d%0aX-Injected:1", "*")
QUERIES = ("%ff=%ff", "limit=%ff", "limit=1e9", "limit=-1", "limit=9" * 9, "page=0", "page=99999999999", "offset=%00",
           "cursor=%00", "cursor=1-1-1", "cursor=999999999999999-1-1", "cursor=%F0%9F%92%A9", "include_total=%ff",
           "start=9999-99-99", "start=0001-01-01T00:00:00Z", "end=9999-12-31T23:59:59-23:59", "action=x", "skip=1e3",
           "max_events=0", "[$ne]=1", "status=%00", "namespace_id=%ff", "&" * 2_000, "a=" + "x" * 6_000)  # fmt: skip

WRITES = [route for route in ROUTES if route.method in {"POST", "PUT", "PATCH"}]


class Peer:
    """One connection that is opened again when the server closes it, and what it was answered."""

    def __init__(self, url: str, account: Account) -> None:
        self._address = urlsplit(url)
        self._account = account
        self._connection = self._connect()
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []

    def send(self, what: str, method: str, path: str, body: bytes | None = None, **more: str) -> int:
        """Send a request and count its status."""
        sent = {**self._account.headers, "Content-Type": JSON, **{k: v for k, v in more.items() if v}}
        if more.get("Content-Type") == "":
            del sent["Content-Type"]
        try:
            self._connection.request(method, path, body, sent)
            answer = self._connection.getresponse()
            content, status = answer.read(), answer.status
        except (http.client.HTTPException, OSError):
            # refused before it was read to its end
            self._connection.close()
            self._connection = self._connect()
            content, status = b"", 0
        self.statuses[status] += 1
        if status >= 500 or b"Traceback" in content or "X-Injected" in str(answer.headers if status else ""):
            self.faults.append(f"{method} {path[:80]} with {what}: {status} {content[:200]!r}")
        return status

    def raw(self, request: bytes, ends: bool = False) -> bytes:
        """What the server says to bytes that no client library would send; `ends` says that no more will come."""
        with socket.create_connection((self._address.hostname, self._address.port or 80), timeout=20) as connection:
            connection.sendall(request)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            try:
                return b"".join(iter(lambda: connection.recv(65_536), b""))
            except ConnectionResetError:
                return b""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=60)


@pytest.fixture(scope="module")
def house(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    many = 1_000_000
    data = Path(tmp_path_factory.mktemp("hostile"))
    failures = {"auth_failures_per_source_per_minute": many, "auth_failures_source_burst": many}
    with site(mongo_url, redis_url, data, sync_wait_seconds=0.01, **failures) as one:
        yield one


@pytest.fixture(scope="module")
def account(house: Site) -> Account:
    return house.account()


@pytest.fixture(scope="module")
def estate(house: Site, account: Account) -> Iterator[Estate]:
    """A tenant with one of everything, so that a body is what decides."""
    with httpx.Client(base_url=house.url, headers={**account.headers, "Prefer": "respond-async"}) as client:

        def call(method: str, path: str, body: Any) -> dict[str, Any]:
            response = client.request(method, path, json=body)
            assert response.is_success, response.text
            answer: dict[str, Any] = response.json()
            return answer

        estate = Estate(house.services, account.scope, account.organization_id, new_marker(), call)
        owned = [route for route in ROUTES if route.permission]
        furnish(estate, sorted({part[1:-1] for route in owned for part in route.rule.split("/") if part[:1] == "<"}))
        yield estate


@pytest.fixture
def peer(house: Site, account: Account) -> Iterator[Peer]:
    peer = Peer(house.url, account)
    yield peer
    peer.close()


def _path(route: Route, estate: Estate) -> str:
    parts = (estate.params.get(part[1:-1], part) if part[:1] == "<" else part for part in route.rule.split("/"))
    return "/".join(map(quote, parts))


def _rss_mib(house: Site) -> float:
    """Of the server's process and its children."""
    process = psutil.Process(house.processes[0].process.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 2**20


def test_no_body_of_any_kind_is_answered_with_a_500(
    house: Site, estate: Estate, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, bodies, before = random.Random(7), list(texts()), _rss_mib(house)
    for what, body in bodies:
        for route in chance.sample(WRITES, PER_BODY):
            peer.send(what, route.method, _path(route, estate), body, Prefer="respond-async")
    claims = list(headers())
    for number, claim in enumerate(claims):
        for route in chance.sample(WRITES, PER_BODY):
            peer.send(f"headers {number}", route.method, _path(route, estate), b"{}", **claim)
    for route in WRITES:
        make = BODIES.get(route.name)
        whole = make(estate) if make else {}
        wrong = list(wrong_fields(route, whole))
        for what, fields in chance.sample(wrong, min(FIELDS_PER_ROUTE, len(wrong))):
            peer.send(what, route.method, _path(route, estate), json.dumps(fields).encode(), Prefer="respond-async")
    growth = _rss_mib(house) - before
    with capsys.disabled():
        print(
            f"\n{len(bodies)} hostile bodies, {len(claims)} hostile headers, {peer.statuses.total()} requests: ", end=""
        )
        print(f"{dict(sorted(peer.statuses.items()))}, 500s = {peer.statuses[500]}, memory grew {growth:.0f} MiB")
    assert len(bodies) >= 200
    assert not peer.faults, "\n".join(peer.faults[:20])
    assert {400, 413, 415, 422} <= peer.statuses.keys()
    assert growth < GROWTH_MIB


def test_every_body_of_the_api_has_its_fields_tried() -> None:
    silent = {"rotate", "submit", "replay", "list", "objects.create"}
    for route in WRITES:
        reads = models_of(route) or route.name.rpartition(".")[2] in silent or route.name in silent
        assert reads or route.name in {"webhooks.create_201"}, f"{route.name}: which body does it read?"


def test_no_path_or_query_is_answered_with_a_500(
    estate: Estate, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(3)
    for route in ROUTES:
        if route.method != "GET":
            continue
        path = _path(route, estate)
        # the audit log reads the most from its query
        asked = QUERIES if route.name == "audit.list" else chance.sample(QUERIES, QUERIES_PER_ROUTE)
        for query in asked:
            peer.send(query, "GET", f"{path}?{query}")
        for segment in SEGMENTS:
            if "<" in route.rule:
                peer.send(segment, "GET", f"{path.rpartition('/')[0]}/{segment}")
    with capsys.disabled():
        print(f"\nhostile paths and queries: {dict(sorted(peer.statuses.items()))}")
    assert not peer.faults, "\n".join(peer.faults[:20])


def test_a_chunked_body_without_a_length_is_read_and_bounded(account: Account, peer: Peer) -> None:
    head = (
        f"PATCH /v1/organizations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {account.key}\r\n"
        "Content-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    ).encode()
    body = b'{"organization_name": "Chunked"}'
    whole = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert b'"organization_name":"Chunked"' in peer.raw(head + b"\r\n" + whole)
    large = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    assert b" 413 " in peer.raw(head + b"\r\n" + large * 2 + b"0\r\n\r\n").partition(b"\r\n")[0]
    for broken in (b"zz\r\n", b"ffffffffffffffff\r\nx", b"5\r\nab\r\n0\r\n\r\n", whole[:-3]):
        assert b" 500 " not in peer.raw(head + b"\r\n" + broken, ends=True).partition(b"\r\n")[0]
    # what broke off is not acted on, although what came of it is a whole object
    cut = b'{"organization_name": "Cut"}'
    assert b"200 OK" not in peer.raw(head + b"\r\n%x\r\n%s\r\n" % (len(cut), cut), ends=True)
    assert b'"organization_name":"Chunked"' in peer.raw(head.replace(b"PATCH", b"GET", 1) + b"\r\n0\r\n\r\n")
    # two lengths at once: whoever reads them differently could be made to see two requests in one
    both = peer.raw(head + b"Content-Length: 3\r\n\r\n" + whole, ends=True).partition(b"\r\n")[0]
    assert b" 500 " not in both
    for extra in (b"X-Request-ID: a\rX-Injected: 1\r\n", b"X-Request-ID : a\r\n", b" folded: 1\r\n", b"X-\x00: 1\r\n"):
        answer = peer.raw(head + extra + b"\r\n" + whole, ends=True)
        assert b" 500 " not in answer.partition(b"\r\n")[0]
        assert b"x-injected" not in answer.lower()
