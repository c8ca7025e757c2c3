"""The dispatcher while what it needs is away: it lives, counts nothing, says so once, and goes on by itself."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr
from pymongo.database import Database

from core.ids import Prefix, random_id
from core.storage.mongo import Document
from core.storage.redis import DeliverySignal
from core.storage.scope import NamespaceScope
from core.vault.kek import binding
from core.vault.kek_vault_transit import TransitKeys
from core.webhooks.delivery import DeliveryStatus
from core.webhooks.signature import generate_secret
from tests.away_server import DENIED, UNAVAILABLE, AwayServer, Conduct, Reply, Request, away_server, in_front_of
from tests.gate import Manner, gate_to
from tests.integration.dispatcher_bench import Bench, bench_on, start_dispatcher, stop_dispatcher
from tests.key_servers import TOKEN, TransitServer, running
from tests.receiver import receiver
from tests.servers import own_database

# the key service's client keeps a connection, which nobody here closes
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PATIENCE = 60.0
_PROGRAM = ("-m", "workers.dispatcher")


def until(come_true: Callable[[], bool]) -> None:
    """Wait for it. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while not come_true():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come true")
        time.sleep(0.05)


def said(log: Path, *events: str) -> list[str]:
    """Of these events, those that were logged, in order."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["event"] in events]


def without_a_trace(log: Path) -> bool:
    """Whether nothing was logged with a traceback."""
    return "Traceback" not in log.read_text()


@pytest.fixture
def key_service() -> Iterator[AwayServer]:
    """A transit engine that can be away."""
    with running(TransitServer()) as transit, away_server(in_front_of(transit.url)) as server:
        yield server


@contextmanager
def dispatching(database: Database[Document], mongo_url: str, redis_url: str, log: Path, **more: str) -> Iterator[None]:
    """A dispatcher process on the test's own database."""
    process = start_dispatcher(
        own_database(mongo_url, database.name), redis_url, _PROGRAM, log, KEYSTAGE_LOG_FORMAT="json", **more
    )
    try:
        yield
        assert process.poll() is None, "the dispatcher died"
    finally:
        stop_dispatcher(process)


def keys_of(key_service: AwayServer) -> TransitKeys:
    """What wraps by it."""
    return TransitKeys(key_service.url, SecretStr(TOKEN), "keystage")


@dataclass
class Sealing:
    """A tenant whose secrets are sealed by the key service, and a dispatcher that opens them."""

    bench: Bench
    key_service: AwayServer
    log: Path
    dispatching: Callable[..., AbstractContextManager[None]]
    """with more settings than where the key service is"""

    def said(self, *events: str) -> list[str]:
        """Of these events, those that the dispatcher logged, in order."""
        return said(self.log, *events)


@pytest.fixture
def sealing(
    database: Database[Document],
    scope: NamespaceScope,
    mongo_url: str,
    redis_url: str,
    key_service: AwayServer,
    tmp_path: Path,
) -> Iterator[Sealing]:
    log = tmp_path / "log"
    settings = {
        "KEYSTAGE_KEK_PROVIDER": "transit",
        "KEYSTAGE_KEK_TRANSIT_URL": key_service.url,
        "KEYSTAGE_KEK_TRANSIT_TOKEN": TOKEN,
    }
    with bench_on(database, scope, redis_url, keys_of(key_service)) as bench:
        yield Sealing(bench, key_service, log, partial(dispatching, database, mongo_url, redis_url, log, **settings))


@pytest.mark.parametrize(
    "conduct", [Conduct.REFUSES, Conduct.SILENT, UNAVAILABLE, DENIED], ids=lambda each: str(each)[:20]
)
def test_without_its_key_service_a_delivery_waits_and_no_attempt_is_counted(
    sealing: Sealing, conduct: Conduct | Reply
) -> None:
    bench, key_service = sealing.bench, sealing.key_service
    with receiver() as sealed, receiver() as plain:
        hook, open_hook = bench.endpoint(sealed.url, generate_secret()), bench.endpoint(plain.url)
        key_service.be(conduct)
        with sealing.dispatching():
            bench.send()
            # more rounds than the schedule has attempts
            until(lambda: _puts_back(bench, hook) >= 4)
            waiting = bench.delivery(hook)
            assert (sealed.requests, bench.attempts(hook), waiting.last_error) == ([], [], None)
            # who needs no key is served meanwhile
            bench.await_status(open_hook, DeliveryStatus.DELIVERED)
            key_service.be(Conduct.WORKS)
            delivered = bench.await_status(hook, DeliveryStatus.DELIVERED)
            assert (delivered.attempts, len(sealed.requests)) == (1, 1)
            until(lambda: sealing.said("backend.away", "backend.back") == ["backend.away", "backend.back"])
        assert without_a_trace(sealing.log)


def _puts_back(bench: Bench, hook: str) -> int:
    """How often the delivery was claimed: each claim has a fence of its own."""
    return sum(_claims(bench, hook))


def _claims(bench: Bench, hook: str) -> list[int]:
    """How often each delivery to an endpoint was claimed."""
    return [row["fence"] for row in bench.handles.organization(bench.scope)["deliveries"].find({"webhook_id": hook})]


def test_one_organizations_refused_key_holds_up_nobody_else(
    sealing: Sealing, database: Database[Document], redis_url: str
) -> None:
    refused, key_service = sealing.bench, sealing.key_service
    other = NamespaceScope(random_id(Prefix.INTERNAL), random_id(Prefix.NAMESPACE))
    works, of_it = key_service.handler, base64.b64encode(binding(refused.scope.internal_id, 1))

    def refuse_its_key(request: Request) -> Reply:
        return DENIED if "/decrypt/" in request.target and of_it in request.body else works(request)

    with (
        bench_on(database, other, redis_url, keys_of(key_service)) as served,
        receiver() as waits,
        receiver() as listens,
    ):
        hook, served_hook = (
            refused.endpoint(waits.url, generate_secret()),
            served.endpoint(listens.url, generate_secret()),
        )
        key_service.handler = refuse_its_key
        # each delivery needs the key service anew
        with sealing.dispatching(KEYSTAGE_DATA_KEY_CACHE_SECONDS="0"):
            refused.send()
            sent = 0
            while _puts_back(refused, hook) < 4:
                served.send()
                sent += 1
                listens.wait_for(sent)
            assert _claims(served, served_hook) == [1] * sent, "none was put back"
            assert (waits.requests, refused.attempts(hook)) == ([], [])
            until(lambda: sealing.said("vault.data_key_fails") != [])
            key_service.handler = works
            assert refused.await_status(hook, DeliveryStatus.DELIVERED).attempts == 1
            until(lambda: sealing.said("vault.data_key_answers") != [])
        told = sealing.said("backend.away", "backend.back", "vault.data_key_fails", "vault.data_key_answers")
        assert told == ["vault.data_key_fails", "vault.data_key_answers"]
        assert without_a_trace(sealing.log)


def test_a_delivery_that_waits_for_the_key_service_gives_up_at_its_age_and_can_be_replayed(sealing: Sealing) -> None:
    bench, key_service = sealing.bench, sealing.key_service
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url, generate_secret())
        key_service.be(Conduct.REFUSES)
        with sealing.dispatching(KEYSTAGE_BACKEND_WAIT_SECONDS="1.5"):
            bench.send()
            given_up = bench.await_status(hook, DeliveryStatus.FAILED)
            assert (given_up.last_error, given_up.attempts, bench.attempts(hook)) == ("backend_away", 0, [])
            assert _puts_back(bench, hook) > 1, "it waited"
            assert sealing.said("delivery.given_up") == ["delivery.given_up"]
            until(lambda: sealing.said("backend.away") != [])
            key_service.be(Conduct.WORKS)
            # before that a replay would wait again
            until(lambda: sealing.said("backend.back") != [])
            bench.store.replay(bench.scope, hook, given_up.delivery_id)
            assert bench.await_status(hook, DeliveryStatus.DELIVERED).attempts == 1


@pytest.mark.parametrize("manner", [Manner.KILLED, Manner.FROZEN])
def test_without_mongodb_it_lives_says_so_once_and_goes_on(
    database: Database[Document],
    scope: NamespaceScope,
    mongo_url: str,
    redis_url: str,
    tmp_path: Path,
    manner: Manner,
) -> None:
    log = tmp_path / "log"
    with (
        gate_to(mongo_url) as (gate, through),
        bench_on(database, scope, redis_url) as bench,
        receiver() as endpoint,
        dispatching(database, through, redis_url, log),
    ):
        hook = bench.endpoint(endpoint.url)
        bench.send()
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        gate.shut(manner)
        until(lambda: said(log, "backend.away") == ["backend.away"])
        bench.send()
        # several rounds that cannot be made
        time.sleep(3)
        gate.open()
        endpoint.wait_for(2)
        until(lambda: said(log, "backend.back") == ["backend.back"])
    assert said(log, "backend.away", "backend.back") == ["backend.away", "backend.back"]
    assert without_a_trace(log)


def test_a_redis_that_is_silent_does_not_end_the_looks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        signal = DeliverySignal(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")

        async def wait_twice() -> None:
            await signal.wait(0.1)
            await signal.wait(0.1)
            await signal.close()

        asyncio.run(asyncio.wait_for(wait_twice(), 20))
