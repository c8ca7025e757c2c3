"""Deliveries to endpoints that behave and endpoints that do not, by one dispatcher process for all tests."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from pymongo.database import Database
from standardwebhooks import Webhook

from core.clock import now
from core.errors import ConflictError
from core.storage.mongo import Document, connect
from core.storage.schema import create_schema
from core.storage.scope import NamespaceScope
from core.webhooks.delivery import DeliveryStatus
from core.webhooks.signature import generate_secret
from tests.integration.dispatcher_bench import Bench, bench_on, start_dispatcher, stop_dispatcher
from tests.receiver import plain, receiver, silent
from tests.servers import own_database


@pytest.fixture(scope="module")
def database(mongo_url: str, redis_url: str) -> Iterator[Database[Document]]:
    """A database that a dispatcher works on; the tests keep apart by their tenants."""
    own_url = own_database(mongo_url)
    database = connect(own_url)
    create_schema(database)
    process = start_dispatcher(own_url, redis_url)
    yield database
    stop_dispatcher(process)
    database.client.close()


@pytest.fixture
def bench(database: Database[Document], scope: NamespaceScope, redis_url: str) -> Iterator[Bench]:
    with bench_on(database, scope, redis_url) as bench:
        yield bench


def test_a_delivery_arrives_signed_and_an_independent_library_verifies_it(bench: Bench) -> None:
    secret = generate_secret()
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url, secret)
        event = bench.send()
        (request,) = endpoint.wait_for(1)
        assert Webhook(secret).verify(request.body, request.headers)["event_id"] == event.event_id
        assert request.headers["webhook-id"] == event.event_id
        assert request.headers["x-mixpeek-signature"].startswith("t=")
        assert bench.await_status(hook, DeliveryStatus.DELIVERED).attempts == 1


def test_a_failing_endpoint_is_tried_again_with_the_same_bytes_until_it_answers_well(bench: Bench) -> None:
    with receiver(plain(500), plain(302, "Location: http://127.0.0.1/\r\n"), plain(204)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        assert bench.await_status(hook, DeliveryStatus.DELIVERED).attempts == 3
        assert bench.results(hook) == ["refused", "refused", "delivered"]
        assert len({request.body for request in endpoint.requests}) == 1


def test_an_exhausted_delivery_stays_failed_until_it_is_replayed(bench: Bench) -> None:
    with receiver(plain(500), plain(500), plain(500), plain(200)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        failed = bench.await_status(hook, DeliveryStatus.FAILED)
        assert (failed.attempts, failed.last_error, failed.due_at) == (3, "http_500", None)
        assert bench.store.get(bench.scope, hook).health.consecutive_failures == 3
        bench.store.replay(bench.scope, hook, failed.delivery_id)
        replayed = bench.await_status(hook, DeliveryStatus.DELIVERED)
        assert (replayed.delivery_id, replayed.replays, replayed.attempts) == (failed.delivery_id, 1, 4)
        assert bench.store.get(bench.scope, hook).health.consecutive_failures == 0


def test_gone_stops_at_once(bench: Bench) -> None:
    with receiver(plain(410)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        assert bench.await_status(hook, DeliveryStatus.FAILED).attempts == 1


@pytest.mark.parametrize("header", ["Retry-After: 3600", "Retry-After: ²"], ids=["seconds", "nonsense"])
def test_retry_after_is_obeyed_when_it_can_be_read(bench: Bench, header: str) -> None:
    with receiver(plain(503, f"{header}\r\n")) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        if header.endswith("²"):
            assert bench.await_status(hook, DeliveryStatus.FAILED).attempts == 3
            return
        endpoint.wait_for(1)
        deadline = time.monotonic() + 60
        while not (delivery := bench.delivery(hook)).last_error and time.monotonic() < deadline:
            time.sleep(0.05)
        assert delivery.status is DeliveryStatus.PENDING
        assert delivery.due_at is not None
        assert delivery.due_at - now() > timedelta(minutes=55)


def test_a_hanging_endpoint_is_left_at_the_deadline(bench: Bench) -> None:
    with receiver(silent) as endpoint:
        hook = bench.endpoint(endpoint.url, timeout_seconds=0.5)
        bench.send()
        bench.await_status(hook, DeliveryStatus.FAILED)
        assert bench.results(hook) == ["timed_out"] * 3


def test_a_removed_endpoint_cancels_its_delivery_which_cannot_be_replayed(bench: Bench) -> None:
    hooks: list[str] = []

    def remove(connection: socket.socket) -> None:
        bench.store.delete(bench.scope, hooks[0])
        plain(500)(connection)

    with receiver(remove) as endpoint:
        hooks.append(bench.endpoint(endpoint.url))
        bench.send()
        cancelled = bench.await_status(hooks[0], DeliveryStatus.CANCELLED)
        assert (cancelled.attempts, len(endpoint.requests)) == (1, 1)
        with pytest.raises(ConflictError):
            bench.store.replay(bench.scope, hooks[0], cancelled.delivery_id)


def test_an_event_relayed_twice_is_delivered_once(bench: Bench) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url)
        event = bench.send()
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        bench.relay(event)
        assert bench.delivery(hook).status is DeliveryStatus.DELIVERED
        assert len(endpoint.requests) == 1
