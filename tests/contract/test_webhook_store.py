"""Endpoints, events and deliveries on a real database: tenants apart, secrets sealed, replays of what has ended."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo.database import Database
from redis import Redis

from core.clock import now
from core.errors import ConflictError, NotFoundError, ValidationFailedError
from core.ids import Prefix, random_id, webhook_id
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document, database_clock
from core.storage.redis import DELIVERIES_CHANNEL, connect_redis
from core.storage.scope import NamespaceScope
from core.vault.cipher import Cipher, SealedValue
from core.vault.data_keys import DataKeys
from core.vault.kek_environment import EnvironmentKeys
from core.webhooks import relay, store
from core.webhooks.delivery import REPLAYABLE, DeliveryStatus
from core.webhooks.endpoint import EndpointSettings, secret_record
from core.webhooks.event import Event, EventType, Subject
from core.webhooks.relay import relay_events
from core.webhooks.store import WebhookStore

KEK = EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [SecretStr(f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}")]))
SETTINGS = EndpointSettings("hook", "https://example.com/hook", (EventType.RESOURCE_EXECUTED,), headers={"X-A": "b"})


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    client.close()
    client.connection_pool.disconnect()


@pytest.fixture
def webhooks(handles: Handles, redis: Redis) -> WebhookStore:
    keys = DataKeys(handles, KEK, kept_seconds=60)
    return WebhookStore(handles, keys, Cipher(keys), redis)


@pytest.fixture
def other() -> NamespaceScope:
    return NamespaceScope(random_id(Prefix.INTERNAL), random_id(Prefix.NAMESPACE))


def event_in(scope: NamespaceScope, event_type: EventType = EventType.RESOURCE_EXECUTED) -> Event:
    return Event(random_id(Prefix.EVENT), event_type, now(), scope.namespace_id, Subject("retriever", "ret_1"), {})


def stored_secret(database: Database[Document], scope: NamespaceScope, hook: str) -> str | None:
    sealed: dict[str, Any] | None = database["webhooks"].find_one({"_id": hook})["secret"]  # type: ignore[index]
    cipher = Cipher(DataKeys(Handles(database), KEK, kept_seconds=60))
    return cipher.open(secret_record(scope.internal_id, hook), SealedValue(**sealed)) if sealed else None


# Endpoints ----------------------------------------------------------------------------------------------


def test_an_endpoint_is_kept_as_it_was_said_and_its_secret_is_sealed(
    webhooks: WebhookStore, database: Database[Document], scope: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, "a secret of mine").webhook_id
    endpoint = webhooks.get(scope, hook)
    assert (endpoint.settings, endpoint.has_secret) == (SETTINGS, True)
    assert webhooks.list_endpoints(scope) == [endpoint]
    assert "a secret of mine" not in repr(endpoint) + repr(list(database["webhooks"].find()))
    assert stored_secret(database, scope, hook) == "a secret of mine"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(None, "the first one"), ("redacted", "the first one"), ("the second one", "the second one"), ("", None)],
)
def test_an_update_keeps_replaces_or_removes_the_secret(
    webhooks: WebhookStore, database: Database[Document], scope: NamespaceScope, sent: str | None, kept: str | None
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, "the first one").webhook_id
    changed = replace(SETTINGS, url="https://example.com/other", is_active=False)
    assert webhooks.update(scope, hook, changed, sent).settings == changed
    assert stored_secret(database, scope, hook) == kept


def test_what_is_not_valid_is_refused_and_changes_nothing(webhooks: WebhookStore, scope: NamespaceScope) -> None:
    bad = replace(SETTINGS, url="ftp://example.com")
    with pytest.raises(ValidationFailedError):
        webhooks.create(scope, webhook_id(), bad, None)
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    with pytest.raises(ValidationFailedError):
        webhooks.update(scope, hook, bad, None)
    assert [endpoint.settings for endpoint in webhooks.list_endpoints(scope)] == [SETTINGS]


def test_switching_an_endpoint_on_forgets_its_failures(
    webhooks: WebhookStore, database: Database[Document], scope: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    database["webhooks"].update_one({"_id": hook}, {"$set": {"health.consecutive_failures": 7}})
    assert webhooks.get(scope, hook).health.consecutive_failures == 7
    assert webhooks.update(scope, hook, SETTINGS, None).health.consecutive_failures == 0


def test_an_organization_may_have_only_so_many_endpoints(
    webhooks: WebhookStore, scope: NamespaceScope, other: NamespaceScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_ENDPOINTS_MAX", 2)
    for _ in range(2):
        webhooks.create(scope, webhook_id(), SETTINGS, None)
    with pytest.raises(ConflictError):
        webhooks.create(scope, webhook_id(), SETTINGS, None)
    webhooks.create(other, webhook_id(), SETTINGS, None)


def test_another_tenant_sees_and_changes_nothing(
    webhooks: WebhookStore, handles: Handles, redis: Redis, scope: NamespaceScope, other: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, "a secret of mine").webhook_id
    (delivery,) = relayed(webhooks, handles, redis, scope, hook)
    with pytest.raises(NotFoundError):
        webhooks.get(other, hook)
    with pytest.raises(NotFoundError):
        webhooks.update(other, hook, SETTINGS, None)
    with pytest.raises(NotFoundError):
        webhooks.get_delivery(other, hook, delivery)
    with pytest.raises(NotFoundError):
        webhooks.replay(other, hook, delivery)
    webhooks.delete(other, hook)
    assert webhooks.list_endpoints(other) == []
    assert webhooks.list_deliveries(other, hook) == []
    assert webhooks.attempts_of(other, delivery) == []
    assert webhooks.get(scope, hook).settings == SETTINGS


# Events -------------------------------------------------------------------------------------------------


def relayed(
    webhooks: WebhookStore, handles: Handles, redis: Redis, scope: NamespaceScope, hook: str, count: int = 1
) -> list[str]:
    """The ids of deliveries made for `count` events."""
    events = [event_in(scope) for _ in range(count)]
    relay_events(handles, scope, events, redis, database_clock(handles.system["deliveries"].database))
    return [delivery.delivery_id for delivery in webhooks.list_deliveries(scope, hook)]


@pytest.mark.parametrize("step", ["insert_missing events", "insert_missing deliveries", "wake_dispatcher", None])
def test_a_relay_that_dies_anywhere_is_repeated_without_doubling(
    webhooks: WebhookStore,
    database: Database[Document],
    handles: Handles,
    redis: Redis,
    scope: NamespaceScope,
    monkeypatch: pytest.MonkeyPatch,
    step: str | None,
) -> None:
    hooks = [webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id for _ in range(2)]
    events, clock = [event_in(scope), event_in(scope, EventType.RESOURCE_EXECUTION_FAILED)], database_clock(database)
    with monkeypatch.context() as patch:
        _die_after(patch, step)
        try:
            relay_events(handles, scope, events, redis, clock)
        except _KilledError:
            assert step is not None
    assert relay_events(handles, scope, events, redis, clock) == 2
    bodies = {found["_id"]: bytes(found["body"]) for found in database["events"].find()}
    assert bodies == {event.event_id: event.body() for event in events}
    deliveries = [webhooks.list_deliveries(scope, hook) for hook in hooks]
    assert [[found.event_id for found in of_hook] for of_hook in deliveries] == [[events[0].event_id]] * 2


class _KilledError(Exception):
    """Stands for a SIGKILL."""


def _die_after(patch: pytest.MonkeyPatch, step: str | None) -> None:
    """Let `relay` run up to and with one of its steps, and no further."""
    if step is None:
        return
    name, _, collection = step.partition(" ")
    real = getattr(relay, name)
    id_prefix = {"events": Prefix.EVENT, "deliveries": Prefix.DELIVERY}.get(collection, "")

    def dying(*arguments: Any) -> None:
        real(*arguments)
        if not id_prefix or arguments[1][0]["_id"].startswith(id_prefix):
            raise _KilledError

    patch.setattr(relay, name, dying)


def test_a_delivery_that_has_moved_on_is_not_touched_by_a_repeated_relay(
    webhooks: WebhookStore, database: Database[Document], handles: Handles, redis: Redis, scope: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    event, clock = event_in(scope), database_clock(database)
    relay_events(handles, scope, [event], redis, clock)
    database["deliveries"].update_one({"webhook_id": hook}, {"$set": {"status": "delivered"}, "$unset": {"due_at": ""}})
    relay_events(handles, scope, [event], redis, clock)
    (delivery,) = webhooks.list_deliveries(scope, hook)
    assert (delivery.status, delivery.due_at) == (DeliveryStatus.DELIVERED, None)


def test_an_event_that_nobody_listens_to_is_stored_all_the_same(
    database: Database[Document], handles: Handles, redis: Redis, scope: NamespaceScope
) -> None:
    event = event_in(scope)
    assert relay_events(handles, scope, [event], redis, database_clock(database)) == 0
    assert [found["_id"] for found in database["events"].find()] == [event.event_id]


def test_a_relay_goes_to_endpoints_of_its_own_tenant_and_wakes_the_dispatcher(
    webhooks: WebhookStore, handles: Handles, redis: Redis, scope: NamespaceScope, other: NamespaceScope
) -> None:
    foreign = webhooks.create(other, webhook_id(), SETTINGS, None).webhook_id
    own = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    with redis.pubsub(ignore_subscribe_messages=True) as signals:  # type: ignore[no-untyped-call]  # redis-py's
        signals.subscribe(DELIVERIES_CHANNEL)
        assert signals.get_message(timeout=5) is None
        assert len(relayed(webhooks, handles, redis, scope, own)) == 1
        assert signals.get_message(timeout=5) is not None
    assert webhooks.list_deliveries(other, foreign) == []


def test_losing_redis_does_not_lose_a_delivery(webhooks: WebhookStore, handles: Handles, scope: NamespaceScope) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    with Redis.from_url("redis://127.0.0.1:1/0") as nobody:
        assert len(relayed(webhooks, handles, nobody, scope, hook)) == 1


# Deliveries ---------------------------------------------------------------------------------------------


def test_deliveries_are_listed_newest_first_and_by_status(
    webhooks: WebhookStore, database: Database[Document], handles: Handles, redis: Redis, scope: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    ids = relayed(webhooks, handles, redis, scope, hook, count=3)
    for age, delivery in enumerate(ids):
        moment = now() - timedelta(minutes=age)
        database["deliveries"].update_one({"_id": delivery}, {"$set": {"created_at": moment}})
    database["deliveries"].update_one({"_id": ids[2]}, {"$set": {"status": "failed"}})
    assert [found.delivery_id for found in webhooks.list_deliveries(scope, hook)] == ids
    assert [found.delivery_id for found in webhooks.list_deliveries(scope, hook, limit=1)] == ids[:1]
    failed = webhooks.list_deliveries(scope, hook, status=DeliveryStatus.FAILED)
    assert [found.delivery_id for found in failed] == ids[2:]


@pytest.mark.parametrize("status", list(DeliveryStatus))
def test_a_replay_arms_what_has_ended_and_refuses_what_is_under_way(
    webhooks: WebhookStore,
    database: Database[Document],
    handles: Handles,
    redis: Redis,
    scope: NamespaceScope,
    status: DeliveryStatus,
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    (delivery,) = relayed(webhooks, handles, redis, scope, hook)
    ended = {"$set": {"status": status.value, "attempts": 4, "tries_in_schedule": 4}, "$unset": {"due_at": ""}}
    database["deliveries"].update_one({"_id": delivery}, ended)
    if status not in REPLAYABLE:
        with pytest.raises(ConflictError):
            webhooks.replay(scope, hook, delivery)
        assert webhooks.get_delivery(scope, hook, delivery).status is status
        return
    replayed = webhooks.replay(scope, hook, delivery)
    assert (replayed.status, replayed.attempts, replayed.replays) == (DeliveryStatus.PENDING, 4, 1)
    assert replayed.due_at is not None
    found = database["deliveries"].find_one({"_id": delivery})
    assert found is not None
    assert found["tries_in_schedule"] == 0


@pytest.mark.parametrize("way", ["removed", "inactive"])
def test_a_replay_to_an_endpoint_that_does_not_listen_is_refused(
    webhooks: WebhookStore,
    database: Database[Document],
    handles: Handles,
    redis: Redis,
    scope: NamespaceScope,
    way: str,
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    (delivery,) = relayed(webhooks, handles, redis, scope, hook)
    database["deliveries"].update_one({"_id": delivery}, {"$set": {"status": "failed"}})
    if way == "removed":
        webhooks.delete(scope, hook)
    else:
        webhooks.update(scope, hook, replace(SETTINGS, is_active=False), None)
    with pytest.raises(ConflictError):
        webhooks.replay(scope, hook, delivery)
