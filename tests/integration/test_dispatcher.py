"""The dispatcher as a process: stopped, killed, overtaken, with other settings, and beside an endpoint that hangs."""

import base64
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from pymongo.database import Database

from core.storage.mongo import Document
from core.storage.scope import NamespaceScope
from core.webhooks.delivery import DeliveryStatus
from core.webhooks.signature import generate_secret
from tests.integration.dispatcher_bench import Bench, Process, bench_on, start_dispatcher, stop_dispatcher
from tests.receiver import plain, receiver, silent
from tests.servers import free_port, own_database

Run = Callable[..., Process]


@pytest.fixture
def bench(database: Database[Document], scope: NamespaceScope, redis_url: str) -> Iterator[Bench]:
    with bench_on(database, scope, redis_url) as bench:
        yield bench


@pytest.fixture
def run(database: Database[Document], mongo_url: str, redis_url: str) -> Iterator[Run]:
    """Starts a dispatcher process on the test's own database."""
    started: list[Process] = []

    def start(program: Sequence[str] = ("-m", "workers.dispatcher"), **settings: str) -> Process:
        own_url = own_database(mongo_url, database.name)
        started.append(start_dispatcher(own_url, settings.pop("redis_url", redis_url), program, **settings))
        return started[-1]

    yield start
    for process in started:
        stop_dispatcher(process)


def test_a_hanging_endpoint_holds_up_nobody_else(bench: Bench, run: Run) -> None:
    with receiver(silent) as hanging, receiver() as quiet:
        bench.endpoint(hanging.url, timeout_seconds=60)
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
        run(redis_url=f"redis://127.0.0.1:{free_port()}/0")
        bench.send()
        bench.await_status(hook, DeliveryStatus.DELIVERED)


def test_a_secret_that_cannot_be_opened_is_our_fault_and_audited_and_can_be_replayed(bench: Bench, run: Run) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url, generate_secret())
        bench.send()
        keyless = run(KEYSTAGE_VAULT_KEYS=f"k2:{base64.urlsafe_b64encode(bytes([2]) * 32).decode()}")
        failed = bench.await_status(hook, DeliveryStatus.FAILED)
        assert (failed.last_error, endpoint.requests) == ("signing_secret_unreadable", [])
        assert bench.store.get(bench.scope, hook).health.consecutive_failures == 0
        stop_dispatcher(keyless)
        entries = list(bench.handles.organization(bench.scope)["audit"].find({}))
        assert len(entries) == failed.attempts
        said = {(e["action"], e["resource_type"], e["resource_id"], e["status"], e["reason"]) for e in entries}
        reason = f"signing_secret_unreadable:{failed.delivery_id}"
        assert said == {("secret_accessed", "webhook", hook, "failure", reason)}
        run()
        bench.store.replay(bench.scope, hook, failed.delivery_id)
        bench.await_status(hook, DeliveryStatus.DELIVERED)


def test_a_private_address_is_blocked_until_the_operator_allows_it(bench: Bench, run: Run) -> None:
    with receiver() as endpoint:
        named = bench.endpoint(endpoint.url.replace("127.0.0.1", "localhost"))
        literal = bench.endpoint(endpoint.url)
        bench.send()
        guarded = run(KEYSTAGE_EGRESS_ALLOW_CIDRS="")
        blocked = bench.await_status(named, DeliveryStatus.BLOCKED)
        bench.await_status(literal, DeliveryStatus.BLOCKED)
        assert (blocked.attempts, endpoint.requests) == (1, [])
        stop_dispatcher(guarded)
        run()
        bench.store.replay(bench.scope, named, blocked.delivery_id)
        bench.await_status(named, DeliveryStatus.DELIVERED)


def test_told_to_stop_it_ends_the_request_under_way_and_starts_no_other(bench: Bench, run: Run) -> None:
    released = threading.Event()

    def slow(connection: socket.socket) -> None:
        released.wait(60)
        plain(200)(connection)

    with receiver(slow) as endpoint:
        hook = bench.endpoint(endpoint.url, timeout_seconds=60)
        bench.send()
        process = run(KEYSTAGE_WEBHOOK_TIMEOUT_SECONDS="60")
        endpoint.wait_for(1)
        heartbeats = bench.handles.system["heartbeats"]
        assert [found["role"] for found in heartbeats.find()] == ["dispatcher"]
        process.send_signal(signal.SIGTERM)
        bench.send()
        released.set()
        stop_dispatcher(process)
        assert Counter(item.status for item in bench.store.list_deliveries(bench.scope, hook)) == {
            DeliveryStatus.DELIVERED: 1,
            DeliveryStatus.PENDING: 1,
        }
        assert list(heartbeats.find()) == []


def test_killed_during_a_request_the_attempt_is_unknown_and_the_delivery_tried_again(bench: Bench, run: Run) -> None:
    with receiver(silent, plain(200)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        victim = run()
        endpoint.wait_for(1)
        victim.kill()
        victim.wait()
        _end_lease(bench, hook)
        run()
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        assert bench.results(hook) == ["unknown", "delivered"]


NEVER_LOOKS = """
from workers import dispatcher
dispatcher._LOOK_EVERY_SECONDS = 3600.0
dispatcher.main()
"""
"""A dispatcher that finds by the hour what it does not foresee."""


def test_a_retry_is_not_found_by_the_usual_look_but_when_it_is_due(bench: Bench, run: Run) -> None:
    with receiver(plain(500), plain(500), plain(200)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        nobody = f"redis://127.0.0.1:{free_port()}/0"
        run(redis_url=nobody, program=("-c", NEVER_LOOKS), KEYSTAGE_WEBHOOK_RETRY_SCHEDULE="1,1")
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        attempts = bench.attempts(hook)
        assert [attempt["result"] for attempt in attempts] == ["refused", "refused", "delivered"]
        # not before its time, from the database's clock to the database's clock
        assert all(attempt["due_at"] <= attempt["started_at"] for attempt in attempts)
        waits = [(after["due_at"] - before["started_at"]).total_seconds() for before, after in pairwise(attempts)]
        assert all(wait >= 0.8 for wait in waits), waits


def test_what_others_left_for_later_is_looked_at_when_it_is_due_and_in_that_order(bench: Bench, run: Run) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url)
        sent = [bench.send().event_id for _ in range(3)]
        deliveries = bench.handles.organization(bench.scope)["deliveries"]
        for seconds, event_id in zip((9, 3, 6), sent, strict=True):
            due_at = bench.clock.now() + timedelta(seconds=seconds)
            assert deliveries.update_one({"webhook_id": hook, "event_id": event_id}, {"$set": {"due_at": due_at}})
        run(redis_url=f"redis://127.0.0.1:{free_port()}/0", program=("-c", NEVER_LOOKS))
        arrived = [request.headers["webhook-id"] for request in endpoint.wait_for(3)]
        assert arrived == [sent[1], sent[2], sent[0]]


WRONG_CLOCK = """
from freezegun import freeze_time
from workers import dispatcher
with freeze_time(tz_offset=0, time_to_freeze="2031-01-01", tick=True):
    dispatcher.main()
"""
"""A dispatcher on a machine whose clock is years ahead."""


def test_every_time_is_the_databases_whatever_the_dispatchers_clock_says(bench: Bench, run: Run) -> None:
    later = format_datetime(bench.clock.now() + timedelta(hours=6), usegmt=True)
    with receiver(plain(503, f"Retry-After: {later}\r\n")) as endpoint:
        hook = bench.endpoint(endpoint.url, generate_secret())
        before = bench.clock.now()
        bench.send()
        run(program=("-c", WRONG_CLOCK))
        waiting = bench.await_error(hook)
        after = bench.clock.now()
        (request,) = endpoint.requests
        moments = [
            datetime.fromtimestamp(int(request.headers["webhook-timestamp"]) + 1, UTC),
            bench.attempts(hook)[0]["started_at"],
        ]
        assert all(before <= moment <= after + timedelta(seconds=1) for moment in moments), moments
        assert (waiting.status, waiting.last_error) == (DeliveryStatus.PENDING, "http_503")
        assert waiting.due_at is not None
        assert timedelta(hours=5, minutes=50) < waiting.due_at - after < timedelta(hours=6, minutes=10)


def test_an_owner_whose_lease_was_taken_over_changes_nothing(bench: Bench, run: Run) -> None:
    with receiver(silent, plain(200)) as endpoint:
        hook = bench.endpoint(endpoint.url, timeout_seconds=1)
        bench.send()
        slow = run()
        endpoint.wait_for(1)
        with _paused(slow):
            _end_lease(bench, hook)
            run()
            bench.await_status(hook, DeliveryStatus.DELIVERED)
        # its request times out now, and it would have the delivery tried again
        stop_dispatcher(slow)
        delivery = bench.delivery(hook)
        assert (delivery.status, delivery.attempts) == (DeliveryStatus.DELIVERED, 2)
        assert bench.results(hook) == ["unknown", "delivered"]


def _end_lease(bench: Bench, hook: str) -> None:
    deliveries = bench.handles.organization(bench.scope)["deliveries"]
    delivery_id = bench.delivery(hook).delivery_id
    assert deliveries.update_one({"_id": delivery_id, "webhook_id": hook}, {"$set": {"due_at": bench.clock.now()}})


@contextmanager
def _paused(process: Process) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
