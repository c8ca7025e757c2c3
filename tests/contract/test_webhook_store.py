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
from core.storage.paging import PageRequest
from core.storage.redis import DELIVERIES_CHANNEL, connect_redis
from core.storage.scope import NamespaceScope
from core.vault.cipher import Cipher, SealedValue
from core.vault.data_keys import DataKeys
from core.vault.kek_environment import EnvironmentKeys
from core.webhooks import own_headers, relay, store
from core.webhooks.delivery import REPLAYABLE, DeliveryStatus
from core.webhooks.endpoint import EndpointSettings, secret_record
from core.webhooks.event import Event, EventType, Subject
from core.webhooks.own_headers import open_headers
from core.webhooks.relay import relay_events
from core.webhooks.store import WebhookStore

KEK = EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [SecretStr(f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}")]))
SHOWN = EndpointSettings(
    "hook", "https://example.com/hook", (EventType.RESOURCE_EXECUTED,), headers={"X-A": "redacted"}
)
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
    assert (endpoint.settings, endpoint.has_secret) == (SHOWN, True)
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
    assert webhooks.update(scope, hook, changed, sent).settings == replace(SHOWN, url=changed.url, is_active=False)
    assert stored_secret(database, scope, hook) == kept


def test_what_is_not_valid_is_refused_and_changes_nothing(webhooks: WebhookStore, scope: NamespaceScope) -> None:
    bad = replace(SETTINGS, url="ftp://example.com")
    with pytest.raises(ValidationFailedError):
        webhooks.create(scope, webhook_id(), bad, None)
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    with pytest.raises(ValidationFailedError):
        webhooks.update(scope, hook, bad, None)
    assert [endpoint.settings for endpoint in webhooks.list_endpoints(scope)] == [SHOWN]


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
    assert webhooks.get(scope, hook).settings == SHOWN
    for webhook in (hook, "wh_0123456789abcdef"):
        with pytest.raises(NotFoundError):
            webhooks.page_deliveries(other, webhook, PageRequest())


# Headers ------------------------------------------------------------------------------------------------


def test_header_values_lie_sealed_and_are_shown_to_nobody(
    webhooks: WebhookStore, database: Database[Document], scope: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), with_headers({"X-Token": "a token of mine"}), None).webhook_id
    assert webhooks.get(scope, hook).settings.headers == {"X-Token": "redacted"}
    assert "a token of mine" not in repr(list(database["webhooks"].find())) + repr(webhooks.list_endpoints(scope))
    assert stored_headers(database, scope, hook) == {"X-Token": "a token of mine"}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"X-A": "redacted", "X-B": "redacted"}, {"X-A": "first", "X-B": "second"}),
        ({"x-a": "redacted", "X-C": "third"}, {"x-a": "first", "X-C": "third"}),
        ({"X-A": "changed"}, {"X-A": "changed"}),
        ({}, {}),
    ],
)
@pytest.mark.parametrize("in_clear", [False, True], ids=["sealed", "of an earlier version"])
def test_an_update_keeps_replaces_or_removes_headers(
    webhooks: WebhookStore,
    database: Database[Document],
    scope: NamespaceScope,
    sent: dict[str, str],
    kept: dict[str, str],
    in_clear: bool,
) -> None:
    before = {"X-A": "first", "X-B": "second"}
    hook = webhooks.create(scope, webhook_id(), with_headers(before), "a secret of mine").webhook_id
    if in_clear:
        store_in_clear(database, hook, before)
    shown = webhooks.update(scope, hook, with_headers(sent), None).settings.headers
    assert shown == dict.fromkeys(sent, "redacted")
    assert stored_headers(database, scope, hook) == kept
    assert "headers" not in found_webhook(database, hook)
    assert stored_secret(database, scope, hook) == "a secret of mine"


def test_what_stands_for_a_value_that_is_not_stored_is_refused(webhooks: WebhookStore, scope: NamespaceScope) -> None:
    standing = with_headers({"X-Other": "redacted"})
    with pytest.raises(ValidationFailedError):
        webhooks.create(scope, webhook_id(), standing, None)
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    with pytest.raises(ValidationFailedError) as refused:
        webhooks.update(scope, hook, standing, None)
    assert refused.value.problems[0].location == ("channels", 0, "configs", "headers", "X-Other")


def test_a_value_that_does_not_open_cannot_be_kept(
    webhooks: WebhookStore, database: Database[Document], scope: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    database["webhooks"].update_one({"_id": hook}, {"$set": {"sealed_headers.token": "gAAAA"}})
    with pytest.raises(ConflictError, match="give each header its value"):
        webhooks.update(scope, hook, with_headers({"X-A": "redacted"}), None)
    webhooks.update(scope, hook, with_headers({"X-A": "anew"}), None)
    assert stored_headers(database, scope, hook) == {"X-A": "anew"}


def test_headers_of_an_earlier_version_are_sealed_once_and_none_is_lost(
    webhooks: WebhookStore, database: Database[Document], scope: NamespaceScope, other: NamespaceScope
) -> None:
    wanted = [{"X-A": f"value {number}"} if number else {} for number in range(4)]
    hooks = [webhooks.create(scope, webhook_id(), with_headers(headers), None).webhook_id for headers in wanted]
    foreign = webhooks.create(other, webhook_id(), with_headers({"X-A": "foreign"}), None).webhook_id
    for hook, headers in zip([*hooks[:3], foreign], [*wanted[:3], {"X-A": "foreign"}], strict=True):
        store_in_clear(database, hook, headers)
    assert [webhooks.seal_clear_headers(scope) for _ in range(2)] == [3, 0]
    assert [stored_headers(database, scope, hook) for hook in hooks] == wanted
    assert [hook for hook in (*hooks, foreign) if "headers" in found_webhook(database, hook)] == [foreign]


def test_headers_that_are_changed_while_they_are_sealed_stay_as_they_were_changed(
    webhooks: WebhookStore, database: Database[Document], scope: NamespaceScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    store_in_clear(database, hook, {"X-A": "old"})
    real = own_headers.header_fields

    def overtaken(*arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(store, "header_fields", real)
        later = {"headers": {"X-A": "new"}, "updated_at": now() + timedelta(seconds=1)}
        database["webhooks"].update_one({"_id": hook, "internal_id": scope.internal_id}, {"$set": later})
        return real(*arguments)

    monkeypatch.setattr(store, "header_fields", overtaken)
    webhooks.seal_clear_headers(scope)
    webhooks.seal_clear_headers(scope)
    assert stored_headers(database, scope, hook) == {"X-A": "new"}


def test_headers_of_an_organization_whose_keys_are_destroyed_are_removed(
    webhooks: WebhookStore, database: Database[Document], scope: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    store_in_clear(database, hook, {"X-A": "old"})
    database["org_keys"].update_many({}, {"$set": {"state": "destroyed"}, "$unset": {"wrapped": "", "kek_id": ""}})
    assert webhooks.seal_clear_headers(scope) == 1
    assert webhooks.get(scope, hook).settings.headers == {}
    assert "old" not in repr(found_webhook(database, hook))


def with_headers(headers: dict[str, str]) -> EndpointSettings:
    return replace(SETTINGS, headers=headers)


def found_webhook(database: Database[Document], hook: str) -> Document:
    found = database["webhooks"].find_one({"_id": hook})
    assert found is not None
    return found


def stored_headers(database: Database[Document], scope: NamespaceScope, hook: str) -> dict[str, str]:
    cipher = Cipher(DataKeys(Handles(database), KEK, kept_seconds=60))
    return open_headers(cipher, scope.internal_id, found_webhook(database, hook))


def store_in_clear(database: Database[Document], hook: str, headers: dict[str, str]) -> None:
    """As versions did that sealed no headers."""
    gone = {"sealed_headers": "", "header_names": ""}
    database["webhooks"].update_one({"_id": hook}, {"$set": {"headers": headers}, "$unset": gone})


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


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("removed", "endpoint_gone"),
        ("inactive", "endpoint_inactive"),
        ("unsubscribed", "not_subscribed"),
        ("narrowed", "resource_type_not_wanted"),
    ],
)
def test_a_replay_to_an_endpoint_that_does_not_listen_is_refused_with_the_reason(
    webhooks: WebhookStore,
    database: Database[Document],
    handles: Handles,
    redis: Redis,
    scope: NamespaceScope,
    way: str,
    why: str,
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    (delivery,) = relayed(webhooks, handles, redis, scope, hook)
    database["deliveries"].update_one({"_id": delivery}, {"$set": {"status": "failed"}})
    changes: dict[str, dict[str, Any]] = {
        "inactive": {"is_active": False},
        "unsubscribed": {"event_types": (EventType.OBJECT_CREATED,)},
        "narrowed": {"resource_types": ("batch",)},
    }
    if way == "removed":
        webhooks.delete(scope, hook)
    else:
        webhooks.update(scope, hook, replace(SHOWN, **changes[way]), None)
    with pytest.raises(ConflictError, match="cannot be replayed") as refused:
        webhooks.replay(scope, hook, delivery)
    assert refused.value.details["cause"] == why
    assert webhooks.get_delivery(scope, hook, delivery).status is DeliveryStatus.FAILED


def test_a_replay_of_an_event_that_is_not_stored_any_more_is_refused(
    webhooks: WebhookStore, database: Database[Document], handles: Handles, redis: Redis, scope: NamespaceScope
) -> None:
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    (delivery,) = relayed(webhooks, handles, redis, scope, hook)
    database["deliveries"].update_one({"_id": delivery}, {"$set": {"status": "failed"}})
    database["events"].delete_many({})
    with pytest.raises(ConflictError, match="its event is not stored"):
        webhooks.replay(scope, hook, delivery)


def test_deliveries_of_a_removed_endpoint_stay_readable(
    webhooks: WebhookStore,
    database: Database[Document],
    handles: Handles,
    redis: Redis,
    scope: NamespaceScope,
    other: NamespaceScope,
) -> None:
    kept = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    hook = webhooks.create(scope, webhook_id(), SETTINGS, None).webhook_id
    ids = relayed(webhooks, handles, redis, scope, hook, count=3)
    database["deliveries"].update_one({"_id": ids[0]}, {"$set": {"status": "failed"}})
    webhooks.delete(scope, hook)
    page = webhooks.page_deliveries(scope, hook, PageRequest(limit=2, include_total=True))
    assert (len(page.records), page.total) == (2, 3)
    failed = webhooks.page_deliveries(scope.organization, hook, PageRequest(), status=DeliveryStatus.FAILED)
    assert [delivery.delivery_id for delivery in failed.records] == [ids[0]]
    assert webhooks.page_deliveries(scope, hook, PageRequest(), status=DeliveryStatus.BLOCKED).records == []
    assert webhooks.get_delivery(scope, hook, ids[0]).delivery_id == ids[0]
    # without a name: whatever there was, whoever it was for
    everything = webhooks.page_deliveries(scope, None, PageRequest(limit=100)).records
    assert sorted(one.webhook_id for one in everything) == sorted([kept] * 3 + [hook] * 3)
    assert len(webhooks.list_deliveries(scope, None)) == 6
    sibling = NamespaceScope(scope.internal_id, other.namespace_id)
    for stranger in (other, sibling):
        with pytest.raises(NotFoundError):
            webhooks.page_deliveries(stranger, hook, PageRequest())
    silent = webhooks.create(scope, webhook_id(), replace(SETTINGS, is_active=False), None).webhook_id
    assert webhooks.page_deliveries(scope, silent, PageRequest()).records == []
    webhooks.delete(scope, silent)
    with pytest.raises(NotFoundError):
        webhooks.page_deliveries(scope, silent, PageRequest())
