"""Deliveries to endpoints that behave and endpoints that do not, by one dispatcher process for all tests."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database
from standardwebhooks import Webhook

from core.clock import now
from core.errors import ConflictError
from core.storage.mongo import Document, connect
from core.storage.schema import create_schema
from core.storage.scope import NamespaceScope
from core.webhooks.delivery import DeliveryStatus
from core.webhooks.event import EventType
from core.webhooks.signature import generate_secret
from tests.integration.dispatcher_bench import Bench, bench_on, start_dispatcher, stop_dispatcher
from tests.receiver import plain, raw, receiver, silent
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
        delivery = bench.await_error(hook)
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
        assert (cancelled.last_error, cancelled.attempts, len(endpoint.requests)) == ("endpoint_gone", 1, 1)
        assert bench.results(hooks[0]) == ["refused"]
        with pytest.raises(ConflictError):
            bench.store.replay(bench.scope, hooks[0], cancelled.delivery_id)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"event_types": (EventType.RESOURCE_EXECUTION_FAILED,)}, "not_subscribed"),
        ({"resource_types": ("batch",)}, "resource_type_not_wanted"),
        ({"is_active": False}, "endpoint_inactive"),
    ],
)
def test_an_endpoint_that_wants_the_event_no_more_is_not_tried_again(
    bench: Bench, changed: dict[str, Any], why: str
) -> None:
    hooks: list[str] = []

    def change(connection: socket.socket) -> None:
        bench.change(hooks[0], endpoint.url, **changed)
        plain(500)(connection)

    with receiver(change) as endpoint:
        hooks.append(bench.endpoint(endpoint.url))
        bench.send()
        cancelled = bench.await_status(hooks[0], DeliveryStatus.CANCELLED)
        assert (cancelled.last_error, cancelled.attempts, len(endpoint.requests)) == (why, 1, 1)
        with pytest.raises(ConflictError, match="cannot be replayed") as refused:
            bench.store.replay(bench.scope, hooks[0], cancelled.delivery_id)
        assert refused.value.details["cause"] == why
        bench.change(hooks[0], endpoint.url)
        bench.store.replay(bench.scope, hooks[0], cancelled.delivery_id)
        endpoint.wait_for(2)


def test_each_attempt_says_which_url_it_used(bench: Bench) -> None:
    hooks: list[str] = []

    def move(connection: socket.socket) -> None:
        bench.change(hooks[0], f"{second.url}/moved?env=prod&token=also-a-secret")
        plain(500)(connection)

    with receiver() as second, receiver(move) as first:
        hooks.append(bench.endpoint(f"{first.url}?token=a-secret"))
        bench.send()
        bench.await_status(hooks[0], DeliveryStatus.DELIVERED)
        urls = [attempt["url"] for attempt in bench.attempts(hooks[0])]
        assert urls == [f"{first.url}?token=***", f"{second.url}/moved?env=prod&token=***"]


def test_a_2xx_whose_body_breaks_is_sent_once_and_the_fault_is_noted(bench: Bench) -> None:
    broken = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"
    with receiver(raw(broken)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        assert bench.await_status(hook, DeliveryStatus.DELIVERED).attempts == 1
        (attempt,) = bench.attempts(hook)
        assert (attempt["status_code"], attempt["error"], attempt["answer_fault"]) == (200, None, "body_invalid")
        assert len(endpoint.requests) == 1


def test_retry_after_of_an_answer_whose_body_breaks_is_obeyed(bench: Bench) -> None:
    broken = b"HTTP/1.1 429 X\r\nRetry-After: 3600\r\nContent-Length: 9\r\n\r\n"
    with receiver(raw(broken)) as endpoint:
        hook = bench.endpoint(endpoint.url)
        bench.send()
        waiting = bench.await_error(hook)
        assert (waiting.status, waiting.last_error) == (DeliveryStatus.PENDING, "http_429")
        assert waiting.due_at is not None
        assert waiting.due_at - bench.clock.now() > timedelta(minutes=55)


def test_a_url_that_is_refused_today_does_not_burn_its_schedule(bench: Bench) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url)
        odd = endpoint.url.replace("127.0.0.1", "0x7f.1")
        bench.handles.organization(bench.scope)["webhooks"].update_one({"_id": hook}, {"$set": {"url": odd}})
        bench.send()
        blocked = bench.await_status(hook, DeliveryStatus.BLOCKED)
        assert (blocked.last_error, blocked.attempts, endpoint.requests) == ("invalid_url", 1, [])


# Headers ------------------------------------------------------------------------------------------------

CANARY = "Bearer canary/0123456789+abcdef"


def test_own_headers_are_sent_and_lie_nowhere_in_clear(bench: Bench) -> None:
    def echo(connection: socket.socket) -> None:
        plain(500, f"Server: {CANARY}\r\n", f'{{"authorization": "{CANARY}"}}'.encode())(connection)

    with receiver(echo, plain(200)) as endpoint:
        hook = bench.endpoint(endpoint.url, headers={"Authorization": CANARY, "X-Env": "prod"})
        bench.send()
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        sent = [(request.headers["authorization"], request.headers["x-env"]) for request in endpoint.requests]
        assert sent == [(CANARY, "prod")] * 2
        assert [one["response_headers"].get("server") for one in bench.attempts(hook)] == ["[redacted]", None]
        assert CANARY.removeprefix("Bearer ") not in everything_stored(bench)


def test_headers_that_an_earlier_version_stored_are_sent_sealed_and_sent_again(bench: Bench) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url)
        in_clear = {
            "$set": {"headers": {"Authorization": CANARY}},
            "$unset": {"sealed_headers": "", "header_names": ""},
        }
        bench.handles.organization(bench.scope)["webhooks"].update_one({"_id": hook}, in_clear)
        assert bench.store.get(bench.scope, hook).settings.headers == {"Authorization": "redacted"}
        bench.send()
        endpoint.wait_for(1)
        assert CANARY in everything_stored(bench)
        assert [bench.store.seal_clear_headers(bench.scope) for _ in range(2)] == [1, 0]
        assert CANARY.removeprefix("Bearer ") not in everything_stored(bench)
        bench.send()
        assert [request.headers["authorization"] for request in endpoint.wait_for(2)] == [CANARY] * 2
        assert bench.store.get(bench.scope, hook).settings.headers == {"Authorization": "redacted"}


def everything_stored(bench: Bench) -> str:
    """All documents of the tenant that webhooks touch."""
    data = bench.handles.organization(bench.scope)
    return repr([list(data[name].find({})) for name in ("webhooks", "events", "deliveries", "attempts")])


def test_an_event_relayed_twice_is_delivered_once(bench: Bench) -> None:
    with receiver() as endpoint:
        hook = bench.endpoint(endpoint.url)
        event = bench.send()
        bench.await_status(hook, DeliveryStatus.DELIVERED)
        bench.relay(event)
        assert bench.delivery(hook).status is DeliveryStatus.DELIVERED
        assert len(endpoint.requests) == 1
