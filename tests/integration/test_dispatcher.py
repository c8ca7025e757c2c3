"""The dispatcher as its own process, against endpoints that behave and endpoints that do not."""

import base64
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from pydantic import SecretStr
from pymongo.database import Database
from redis import Redis
from standardwebhooks import Webhook

from core.clock import DatabaseClock, now
from core.errors import ConflictError
from core.ids import Prefix, random_id, webhook_id
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document, database_clock
from core.storage.redis import connect_redis
from core.storage.scope import NamespaceScope
from core.vault.cipher import Cipher
from core.webhooks.delivery import Delivery, DeliveryStatus
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import Event, EventType, Subject
from core.webhooks.relay import relay_events
from core.webhooks.signature import generate_secret
from core.webhooks.store import WebhookStore
from tests.receiver import plain, receiver, silent
from tests.servers import free_port

VAULT_KEY = f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}"


@dataclass
class Bench:
    """One tenant's endpoints and deliveries on a database of this test's own."""

    handles: Handles
    scope: NamespaceScope
    redis: Redis
    store: WebhookStore
    clock: DatabaseClock

    def endpoint(self, url: str, secret: str | None = None) -> str:
        settings = EndpointSettings("hook", url, (EventType.RESOURCE_EXECUTED,), timeout_seconds=30.0)
        return self.store.create(self.scope, webhook_id(), settings, secret).webhook_id

    def send(self) -> Event:
        event = Event(
            random_id(Prefix.EVENT),
            EventType.RESOURCE_EXECUTED,
            now(),
            self.scope.namespace_id,
            Subject("retriever", "ret_1"),
            {},
        )
        relay_events(self.handles, self.scope, [event], self.redis, self.clock)
        return event

    def delivery(self, hook: str) -> Delivery:
        (delivery,) = self.store.list_deliveries(self.scope, hook)
        return delivery

    def await_status(self, hook: str, status: DeliveryStatus, seconds: float = 60.0) -> Delivery:
        deadline = time.monotonic() + seconds
        while (delivery := self.delivery(hook)).status is not status:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the delivery is {delivery.status}, not {status}")
            time.sleep(0.05)
        return delivery

    def results(self, hook: str) -> list[str]:
        return [item["result"] for item in self.store.attempts_of(self.scope, self.delivery(hook).delivery_id)]


@pytest.fixture
def bench(database: Database[Document], handles: Handles, scope: NamespaceScope, redis_url: str) -> Iterator[Bench]:
    redis = connect_redis(redis_url)
    cipher = Cipher(Keyring("KEYSTAGE_VAULT_KEYS", [SecretStr(VAULT_KEY)]))
    yield Bench(handles, scope, redis, WebhookStore(handles, cipher, redis), database_clock(database))
    redis.close()
    redis.connection_pool.disconnect()


Run = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def run(database: Database[Document], mongo_url: str, redis_url: str) -> Iterator[Run]:
    """Starts a dispatcher process; each is stopped at the end, and must stop in order when told so."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**settings: str) -> "subprocess.Popen[bytes]":
        environment = {
            **os.environ,
            "KEYSTAGE_MONGO_URL": mongo_url.removesuffix("keystage") + database.name,
            "KEYSTAGE_REDIS_URL": redis_url,
            "KEYSTAGE_VAULT_KEYS": VAULT_KEY,
            "KEYSTAGE_EGRESS_ALLOW_CIDRS": "127.0.0.0/8,::1/128",
            "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE": "0.2,0.2",
            **settings,
        }
        command = [sys.executable, "-m", "workers.dispatcher"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
    codes = [process.wait(timeout=20) for process in started]
    assert set(codes) <= {0, -signal.SIGKILL}


def test_a_delivery_arrives_signed_and_an_independent_library_verifies_it(bench: Bench, run: Run) -> None:
    secret = generate_secret()
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url, secret)
        event = bench.send()
        run()
        (request,) = endpoint.wait_for(1)
        assert Webhook(secret).verify(request.body, request.headers)["event_id"] == event.event_id
        assert request.headers["webhook-id"] == event.event_id
        assert request.headers["x-mixpeek-signature"].startswith("t=")
        assert bench.await_status(hook, DeliveryStatus.DELIVERED).attempts == 1


def test_a_failing_endpoint_is_tried_again_until_it_answers_well(bench: Bench, run: Run) -> None:
    with receiver(plain(500), plain(302, "Location: http://127.0.0.1/\r\n"), plain(204)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        run()
        assert bench.await_status(hook, DeliveryStatus.DELIVERED).attempts == 3
        assert bench.results(hook) == ["refused", "refused", "delivered"]
        assert len({request.body for request in endpoint.requests}) == 1


def test_an_exhausted_delivery_stays_failed_until_it_is_replayed(bench: Bench, run: Run) -> None:
    with receiver(plain(500), plain(500), plain(500), plain(200)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        run()
        failed = bench.await_status(hook, DeliveryStatus.FAILED)
        assert (failed.attempts, failed.last_error, failed.due_at) == (3, "http_500", None)
        assert bench.store.get(bench.scope, hook).health.consecutive_failures == 3
        bench.store.replay(bench.scope, hook, failed.delivery_id)
        replayed = bench.await_status(hook, DeliveryStatus.DELIVERED)
        assert (replayed.delivery_id, replayed.replays, replayed.attempts) == (failed.delivery_id, 1, 4)
        assert bench.store.get(bench.scope, hook).health.consecutive_failures == 0


def test_gone_stops_at_once(bench: Bench, run: Run) -> None:
    with receiver(plain(410)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        run()
        assert bench.await_status(hook, DeliveryStatus.FAILED).attempts == 1


def test_retry_after_is_obeyed(bench: Bench, run: Run) -> None:
    with receiver(plain(503, "Retry-After: 3600\r\n")) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        run()
        endpoint.wait_for(1)
        deadline = time.monotonic() + 10
        while not (delivery := bench.delivery(hook)).last_error and time.monotonic() < deadline:
            time.sleep(0.05)
        assert delivery.status is DeliveryStatus.PENDING
        assert delivery.due_at is not None
        assert delivery.due_at - now() > timedelta(minutes=55)


def test_a_hanging_endpoint_is_left_at_the_deadline(bench: Bench, run: Run) -> None:
    with receiver(silent) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        run(KEYSTAGE_WEBHOOK_TIMEOUT_SECONDS="0.5")
        bench.await_status(hook, DeliveryStatus.FAILED)
        assert bench.results(hook) == ["timed_out"] * 3


def test_a_hanging_endpoint_holds_up_nobody_else(bench: Bench, run: Run) -> None:
    with receiver(silent) as hanging, receiver() as quiet:
        bench.endpoint(hanging.url)
        for _ in range(20):
            bench.send()
        hook = bench.endpoint(quiet.url)
        bench.send()
        stuck = run(KEYSTAGE_WEBHOOK_TIMEOUT_SECONDS="60")
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        # what is over the endpoint's cap was left alone, not claimed and parked
        hanging.wait_for(8)
        statuses = [found["status"] for found in bench.handles.organization(bench.scope)["deliveries"].find({})]
        assert Counter(statuses) == {"pending": 13, "delivering": 8, "delivered": 1}
        stuck.kill()


def test_without_redis_a_delivery_still_arrives(bench: Bench, run: Run) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url)
        run(KEYSTAGE_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
        bench.send()
        bench.await_status(hook, DeliveryStatus.DELIVERED)


def test_a_secret_that_cannot_be_opened_is_our_fault_and_can_be_replayed(bench: Bench, run: Run) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url, generate_secret())
        bench.send()
        other_key = f"k2:{base64.urlsafe_b64encode(bytes([2]) * 32).decode()}"
        keyless = run(KEYSTAGE_VAULT_KEYS=other_key)
        failed = bench.await_status(hook, DeliveryStatus.FAILED)
        assert (failed.last_error, endpoint.requests) == ("signing_secret_unreadable", [])
        assert bench.store.get(bench.scope, hook).health.consecutive_failures == 0
        _stop(keyless)
        run()
        bench.store.replay(bench.scope, hook, failed.delivery_id)
        bench.await_status(hook, DeliveryStatus.DELIVERED)


def test_told_to_stop_it_ends_the_request_under_way_and_starts_no_other(bench: Bench, run: Run) -> None:
    released = threading.Event()

    def slow(connection: socket.socket) -> None:
        released.wait(20)
        plain(200)(connection)

    with receiver(slow) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        process = run(KEYSTAGE_WEBHOOK_TIMEOUT_SECONDS="20")
        endpoint.wait_for(1)
        heartbeats = bench.handles.system["heartbeats"]
        assert [found["role"] for found in heartbeats.find()] == ["dispatcher"]
        process.send_signal(signal.SIGTERM)
        bench.send()
        released.set()
        process.wait(timeout=20)
        assert Counter(item.status for item in bench.store.list_deliveries(bench.scope, hook)) == {
            DeliveryStatus.DELIVERED: 1,
            DeliveryStatus.PENDING: 1,
        }
        assert list(heartbeats.find()) == []


def test_a_private_address_is_blocked_until_the_operator_allows_it(bench: Bench, run: Run) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url.replace("127.0.0.1", "localhost"))
        literal = bench.endpoint(endpoint.url)
        bench.send()
        guarded = run(KEYSTAGE_EGRESS_ALLOW_CIDRS="")
        blocked = bench.await_status(hook, DeliveryStatus.BLOCKED)
        bench.await_status(literal, DeliveryStatus.BLOCKED)
        assert (blocked.attempts, endpoint.requests) == (1, [])
        _stop(guarded)
        run()
        bench.store.replay(bench.scope, hook, blocked.delivery_id)
        bench.await_status(hook, DeliveryStatus.DELIVERED)


def test_a_removed_endpoint_cancels_its_delivery_which_cannot_be_replayed(bench: Bench, run: Run) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        bench.store.delete(bench.scope, hook)
        run()
        cancelled = bench.await_status(hook, DeliveryStatus.CANCELLED)
        with pytest.raises(ConflictError):
            bench.store.replay(bench.scope, hook, cancelled.delivery_id)


def test_killed_during_a_request_the_attempt_is_unknown_and_the_delivery_tried_again(bench: Bench, run: Run) -> None:
    with receiver(silent, plain(200)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        victim = run()
        endpoint.wait_for(1)
        victim.kill()
        victim.wait()
        _expire_lease(bench, hook)
        run()
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        assert bench.results(hook) == ["unknown", "delivered"]


def test_an_owner_whose_lease_was_taken_over_changes_nothing(bench: Bench, run: Run) -> None:
    with receiver(silent, plain(200)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        slow = run(KEYSTAGE_WEBHOOK_TIMEOUT_SECONDS="3")
        endpoint.wait_for(1)
        with _paused(slow):
            _expire_lease(bench, hook)
            run()
            bench.await_status(hook, DeliveryStatus.DELIVERED)
        _stop(slow)
        delivery = bench.delivery(hook)
        assert (delivery.status, delivery.attempts) == (DeliveryStatus.DELIVERED, 2)
        assert bench.results(hook) == ["unknown", "delivered"]


def test_events_relayed_twice_are_delivered_once(bench: Bench, run: Run) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url)
        event = bench.send()
        relay_events(bench.handles, bench.scope, [event], bench.redis, bench.clock)
        run()
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        assert len(endpoint.requests) == 1


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)


def _expire_lease(bench: Bench, hook: str) -> None:
    deliveries = bench.handles.organization(bench.scope)["deliveries"]
    assert deliveries.update_one(
        {"webhook_id": hook, "_id": bench.delivery(hook).delivery_id}, {"$set": {"due_at": now()}}
    )


@contextmanager
def _paused(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
