"""No query of ours scans a collection: each filter that the stores send is caught and explained at 20,000 documents."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo import MongoClient, monitoring
from pymongo.database import Database

from config.settings import Settings
from core.audit.entry import NOTHING
from core.audit.pages import LogFilter
from core.audit.trail import AuditSettings
from core.bootstrap import Services, build_checkpointer, build_services
from core.clock import now
from core.credits.totals import Period
from core.errors import ConflictError, NotFoundError
from core.ids import Prefix, random_id, webhook_id
from core.jobs.announcement import events_of
from core.jobs.job import Decision, JobKind, JobState, NewJob
from core.jobs.leadership import Leadership
from core.storage.cursor import Cursor, tick_of
from core.storage.mongo import Document, connect_async
from core.storage.paging import Page, PageRequest
from core.storage.schema import NAMESPACED
from core.storage.scope import NamespaceScope
from core.storage.selection import Selection
from core.tenancy.api_key import KeyGrant
from core.tenancy.keys import mint_key
from core.tenancy.permissions import Permission
from core.tenancy.user import Role, UserStatus
from core.vault.resolver import UsedBy
from core.vault.secret import SecretLimits
from core.webhooks.delivery import Attempt, AttemptResult, DeliveryStatus
from core.webhooks.delivery_queue import DeliveryQueue
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import EventType
from core.webhooks.relay import relay_events
from tests.audit_log import record
from tests.claiming import claimed
from tests.integration.deletions import fill
from tests.servers import own_database
from tests.tenants import new_key

DOCUMENTS = 20_000
FILLED = {
    "jobs": DOCUMENTS,
    "ledger": DOCUMENTS,
    "audit": DOCUMENTS,
    "audit_checkpoints": 2_000,
    "deliveries": 2_000,
    "documents": 2_000,
    "objects": 2_000,
    "org_keys": 2_000,
    "secrets": 2_000,
    "secret_versions": 2_000,
    "secret_access": 2_000,
}
"""The plan does not change beyond a thousand; the embedded engine stores about a thousand documents a second."""
KEY = SecretStr(f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}")
SMALL = frozenset({"leases", "heartbeats", "organizations"})
"""Collections with a handful of documents: one per process, one per lease, one per customer."""


READ_BY_TENANT = frozenset(
    {
        ("audit", "action actor_id at internal_id"),
        ("audit", "at internal_id namespace_id"),
        ("deliveries", "created_at internal_id namespace_id status webhook_id"),
        ("deliveries", "created_at internal_id namespace_id webhook_id"),
        ("deliveries", "created_at internal_id status"),
        ("documents", "_id collection_id created_at internal_id namespace_id"),
        ("jobs", "_id created_at internal_id"),
        ("jobs", "_id created_at internal_id namespace_id"),
        ("jobs", "created_at internal_id namespace_id state"),
        ("jobs", "created_at internal_id state"),
        ("jobs", "due_at internal_id kind namespace_id"),
        ("jobs", "due_at internal_id kind namespace_id state"),
    }
)
"""Lists with more conditions than their index has fields. MongoDB reads by that index and looks at the rest. The
embedded engine reads by the first condition that an index serves, at worst all that the tenant has there; its explain
does not say so."""
READ_WHOLE = frozenset(
    {
        ("api_keys", "$or internal_id revoked_at user_id"),
        ("buckets", "$or created_at internal_id namespace_id"),
        ("collections", "$or created_at internal_id namespace_id"),
        ("namespaces", "$or internal_id state"),
        ("retrievers", "$or created_at internal_id namespace_id"),
        ("users", "$or internal_id"),
    }
)
"""Small catalogues, narrowed to what a key's scopes cover by id or name: the embedded engine uses no index beside
`$or`."""


class Wire(monitoring.CommandListener):
    """Keeps each distinct filter that a client sends."""

    def __init__(self) -> None:
        self.filters: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self.hinted: set[str] = set()
        """collections that a query named an index for"""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command = event.command
        named = [command, *command.get("updates", ()), *command.get("deletes", ())]
        if any("hint" in part for part in named):
            self.hinted.add(str(command[event.command_name]))
        for query in self._queries(event.command_name, command):
            shape = json.dumps({name: _shape(value) for name, value in sorted(query.items())})
            collection = str(command[event.command_name])
            self.filters.setdefault(f"{collection} {shape}", (collection, query))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to keep."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to keep."""

    def _queries(self, name: str, command: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        match name:
            case "find":
                return [command["filter"]]
            case "update":
                return [update["q"] for update in command["updates"]]
            case "delete":
                return [delete["q"] for delete in command["deletes"]]
            case "aggregate":
                return [stage["$match"] for stage in command["pipeline"] if "$match" in stage]
            case "count":
                return [command["query"]]
            case _:
                return []


def _shape(value: object) -> object:
    return sorted(value) if isinstance(value, dict) else "="


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    listener = Wire()
    monitoring.register(listener)
    yield listener
    # pymongo has no unregister; clients made later would only feed a listener that nobody reads
    monitoring._LISTENERS.command_listeners.remove(listener)


@pytest.fixture(scope="module")
def services(
    wire: Wire, mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    url = own_database(mongo_url)
    data = Path(tmp_path_factory.mktemp("plans"))
    settings = Settings(
        data=data,
        mongo_url=url,
        redis_url=redis_url,
        vault_keys=(KEY,),
        key_peppers=(KEY,),
        audit_keys=(KEY,),
        audit_signing_key=KEY,
    )
    services = build_services(settings)
    yield services
    services.close()


def test_no_query_of_the_stores_scans_a_collection(wire: Wire, services: Services) -> None:
    scope = _tenant(services)
    _use_every_store(services, scope)
    _use_audit_log(services, scope)
    _use_keys_and_users(services, scope)
    _use_pages(services, scope)
    asyncio.run(_use_delivery_queue(services))
    _fill(services.database, scope)
    scans = {
        (collection, _fields(query))
        for collection, query in wire.filters.values()
        if collection not in SMALL and _scans(services.database, collection, query)
    }
    print(f"\nquery shapes explained at {DOCUMENTS} documents: {len(wire.filters)}, collection scans: {len(scans)}")
    assert len(wire.filters) > 30
    assert scans == READ_BY_TENANT | READ_WHOLE
    # the embedded database walks all of an index that a query names, whatever its filter: docs/decisions/0010
    assert wire.hinted == set()


def test_the_check_sees_a_scan_and_a_named_index(wire: Wire, services: Services) -> None:
    assert _scans(services.database, "jobs", {"spec.batch_id": "btch_1"})
    services.database["heartbeats"].find_one({}, hint="at_1")
    services.database["leases"].update_one({"_id": "none"}, {"$set": {"n": 1}}, hint="_id_")
    assert wire.hinted == {"heartbeats", "leases"}


def _scans(database: Database[Document], collection: str, query: Mapping[str, Any]) -> bool:
    if isinstance(query.get("_id"), str):
        # a point look-up: MongoDB takes the _id index, the embedded engine a direct read that its explain leaves out
        query = {"_id": query["_id"]}
    plan = database[collection].find(dict(query)).explain()
    return '"COLLSCAN"' in json.dumps(plan["queryPlanner"]["winningPlan"], default=str)


def _fields(query: Mapping[str, Any]) -> str:
    return " ".join(sorted(query))


def _tenant(services: Services) -> NamespaceScope:
    organization = services.organizations.create("A", "a@example.com", "enterprise")
    services.organizations.find(organization.organization_id)
    services.organizations.get(organization.scope)
    key = new_key(services, organization.scope, Permission.ADMIN, "k")
    services.authenticator.authenticate(key.text, "127.0.0.1")
    namespace = services.namespaces.create(organization.scope, "default")
    services.namespaces.get(organization.scope, namespace.namespace_id)
    services.namespaces.get(organization.scope, "default")
    services.namespaces.find(namespace.namespace_id)
    services.namespaces.list(organization.scope)
    services.index_rebuilds.begin(namespace.scope, "req_1")
    services.index_rebuilds.end(namespace.scope)
    return namespace.scope


def _use_every_store(services: Services, scope: NamespaceScope) -> None:
    services.ledger.grant(scope, "grant", 100_000)
    hook = services.webhooks.create(
        scope, webhook_id(), EndpointSettings("h", "http://127.0.0.1:9/", tuple(EventType)), None
    ).webhook_id
    new = NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, {"retriever_id": "ret_1", "execution_id": "e"}, 10, "req")
    services.submission.submit(scope, new)
    services.submission.submit(scope, new)
    services.jobs.list(scope, states=[JobState.QUEUED])
    services.jobs.list(scope.organization, states=[JobState.QUEUED])
    services.jobs.list(scope.organization)
    services.jobs.get(scope.organization, new.job_id)
    services.queue.due(10)
    services.queue.waiting()
    services.queue.holds_of([new.job_id])
    lease = claimed(services.queue, new.job_id, "owner")
    assert lease is not None
    lease.heartbeat()
    lease.cancel_requested()
    lease.checkpoint(["a"], {"n": 1})
    decision = Decision(JobState.SUCCEEDED, charge=5)
    lease.decide(decision)
    (hold,) = services.ledger.entries_of(scope, new.job_id)
    services.ledger.capture(scope, hold, 5)
    services.ledger.statement(scope)
    for narrowest in (scope, scope.organization):
        day = Period(now() - timedelta(days=1), now() + timedelta(hours=1))
        services.usage.charges(narrowest, day)
        (capture,) = services.usage.page(scope.organization, day, PageRequest(include_total=True)).records
        behind = Cursor((tick_of(capture.at), capture.seq + 1), 1).text()
        assert services.usage.page(narrowest, day, PageRequest(cursor=behind, include_total=True)).total in (0, 1)
    services.ledger.holds_between(now() - timedelta(hours=1), now(), 10)
    events = events_of(lease.job, decision, now())
    lease.finish(decision, events)
    relay_events(services.handles, scope, events, services.redis, services.clock)
    lease.announced(events)
    services.jobs.request_cancel(scope, new.job_id)
    services.jobs.withdraw(scope, lease.job)
    services.jobs.remove_withdrawn(scope, new.job_id)
    _use_webhooks(services, scope, hook)
    services.jobs.owing(scope, announcements=False)
    services.jobs.owing(scope, announcements=True)
    _delete_a_namespace(services, services.namespaces.create(scope.organization, "doomed").scope)
    _use_vault(services, scope)
    Leadership(services.handles, services.clock, "plans", "me").hold()
    services.heartbeats.fresh("worker")
    for read in (services.buckets.get, services.collections.get, services.retrievers.get):
        for name in ("bkt_none", "col_none", "ret_none", "a name"):
            with pytest.raises(NotFoundError):
                read(scope, name)


def _use_webhooks(services: Services, scope: NamespaceScope, hook: str) -> None:
    (delivery,) = services.webhooks.list_deliveries(scope, hook, status=DeliveryStatus.PENDING)
    services.webhooks.list_deliveries(scope, hook)
    services.webhooks.get_delivery(scope, hook, delivery.delivery_id)
    services.webhooks.find_delivery(scope, delivery.delivery_id)
    services.webhooks.attempts_of(scope, delivery.delivery_id)
    for narrowest in (scope, scope.organization):
        services.webhooks.page_deliveries(narrowest, hook, PageRequest())
    services.webhooks.page_deliveries(scope.organization, None, PageRequest())
    services.webhooks.page_deliveries(scope.organization, None, PageRequest(), status=DeliveryStatus.FAILED)
    services.webhooks.list_deliveries(scope.organization, None, status=DeliveryStatus.FAILED)
    with suppress(ConflictError):
        services.webhooks.replay(scope, hook, delivery.delivery_id)
    named = EndpointSettings("h", "http://127.0.0.1:9/", tuple(EventType), headers={"X-A": "b"})
    services.webhooks.update(scope, hook, named, None)
    services.webhooks.seal_clear_headers(scope.organization)


def _use_audit_log(services: Services, scope: NamespaceScope) -> None:
    trail, organization = services.audit, scope.organization
    entry = trail.append(organization, record())
    trail.get(organization, entry.audit_id)
    for wanted in (
        LogFilter(),
        LogFilter(start=entry.at),
        LogFilter(resource_type="x"),
        LogFilter(resource_id="x"),
        LogFilter(actor_id="x"),
        LogFilter(action="x"),
        LogFilter(namespace_id="x"),
    ):
        behind = Cursor((tick_of(entry.at), entry.seq + 1), 0).text()
        for request in (PageRequest(1), PageRequest(1, cursor=behind, include_total=True)):
            trail.page(organization, wanted, request)
    assert trail.page(organization, LogFilter(), PageRequest(1, cursor=behind)).records == [entry]
    trail.export(organization, LogFilter(actor_id="x", action="y", start=entry.at), 10)
    trail.update_settings(organization, trail.settings(organization))
    trail.update_settings(organization, AuditSettings())
    # a process that does not know of the newest entry finds it from the collision
    trail._catch_up(organization, NOTHING)
    checkpointer = build_checkpointer(services)
    assert checkpointer is not None
    assert len(checkpointer.run()) == 1
    services.auditor.examine(services.organizations.get(organization))


def _use_keys_and_users(services: Services, scope: NamespaceScope) -> None:
    organization = scope.organization
    user = services.users.create(organization, "owner@example.com", "Owner", Role.MEMBER)
    text = services.keys.issue(organization, user, "ci", KeyGrant())
    services.keys.recognise(text)
    key = services.keys.get(organization, user, "ci")
    services.keys.update(organization, key, key.grant, name="build", description=None)
    key = services.keys.get(organization, user, "build")
    services.keys.rotate(organization, key, mint_key(), now() + timedelta(hours=1), None)
    services.keys.note_use(organization.internal_id, {key.key_id: now()})
    services.keys.list(organization, user, include_revoked=True)
    services.keys.list(organization, user, only=Selection.of(["build"]))
    services.keys.revoke(organization, user, "build")
    services.keys.set_standing(organization, user, Role.VIEWER, UserStatus.SUSPENDED)
    services.users.update(organization, user, {"name": "O"})
    services.users.list(organization, Selection.of(["o*"]))
    services.keys.remove_user(organization, user)
    for narrowest in (scope, organization):
        services.jobs.page(narrowest, PageRequest(), only=Selection.of(["task_1", "task_2*"]))
    services.namespaces.list(organization, Selection.of(["default", "d*"]))
    for store in (services.buckets, services.collections, services.retrievers):
        store.list(scope, PageRequest(), Selection.of(["one", "o*"]))
    services.collections.list_documents(scope, "col_filler", PageRequest(), Selection.of(["doc_1", "doc_2*"]))
    services.collections.count_documents(scope, ["col_filler", "col_other"], 100)


def _use_pages(services: Services, scope: NamespaceScope) -> None:
    """Every list behind a row, with rows of the same millisecond."""
    ids = {"internal_id": scope.internal_id, "namespace_id": scope.namespace_id}
    moment = now()
    request = PageRequest(5, cursor=Cursor((tick_of(moment), "~"), 0).text(), include_total=True)
    everything: dict[str, tuple[str, Callable[[], Page[Any]]]] = {
        "buckets": ("", lambda: services.buckets.list(scope, request)),
        "collections": ("", lambda: services.collections.list(scope, request)),
        "retrievers": ("", lambda: services.retrievers.list(scope, request)),
        "objects": ("bucket_id", lambda: services.buckets.list_objects(scope, "x", request)),
        "batches": ("bucket_id", lambda: services.batches.list(scope, "x", request)),
        "documents": ("collection_id", lambda: services.collections.list_documents(scope, "x", request)),
        "deliveries": ("webhook_id", lambda: services.webhooks.page_deliveries(scope.organization, "x", request)),
        "jobs": ("", lambda: services.jobs.page(scope, request)),
    }
    for collection, (parent, read) in everything.items():
        of_parent = {parent: "x"} if parent else {}
        # only `_id` and `created_at` are read before the missing fields are missed
        row = {"_id": f"page_{collection}", "created_at": moment, **ids, **of_parent}
        services.database[collection].insert_one(row)
        with pytest.raises(KeyError):
            read()
        services.database[collection].delete_one({"_id": row["_id"]})
        if collection != "deliveries":
            # a webhook of which there is nothing is not found
            assert read().total is not None
    services.jobs.page(scope.organization, request)


def _delete_a_namespace(services: Services, scope: NamespaceScope) -> None:
    deletion = services.deletions.begin(scope, "op_1", "req_1")
    services.namespaces.deletion_of(scope, "doomed")
    assert services.namespaces.deletions() == [deletion]
    services.deletions.submit(deletion)
    services.deletions.resume(deletion)
    services.namespaces.renumber_deletion(deletion)
    fill(services.handles, scope, dict.fromkeys(NAMESPACED, 1))
    assert len(list(services.deletions.contents.remove(scope))) == len(NAMESPACED)
    services.namespaces.end_deletion(scope)
    assert services.namespaces.is_deleted(scope)


def _use_vault(services: Services, scope: NamespaceScope) -> None:
    services.secrets.create(scope, "sec_1", "k", "some value", SecretLimits())
    services.secrets.update(scope, "k", "another value")
    services.secrets.roll_back(scope, "k", 1)
    secret = services.secrets.limit(scope, "k", lambda _: SecretLimits())
    services.secrets.versions(secret)
    services.secrets.names(scope)
    services.secrets.existing(scope, ["k"])
    services.secret_usage.of(scope.organization, "k")
    services.resolver.resolve(scope, ["k"], UsedBy("key_1", "task_1"))
    services.secret_use.write()
    services.secret_access.pattern(scope, secret.secret_id, services.clock.now())
    services.key_rotation.rotate(scope.organization, services.clock.now() + timedelta(seconds=1))
    services.key_rotation.rewrap_all()
    services.key_rotation.rewrap(scope.organization)
    services.key_rotation.states()
    services.secrets.delete(scope, "k")


async def _use_delivery_queue(services: Services) -> None:
    database = connect_async(services.settings.mongo_url)
    queue = DeliveryQueue(database, "dispatcher:test", 30)
    ((_due_at, due),) = await queue.due_between(now() - timedelta(days=1), now() + timedelta(minutes=1), 10)
    await queue.next_due(now(), now() + timedelta(seconds=1))
    claimed = await queue.claim(due.delivery_id)
    assert claimed is not None
    await queue.start_attempt(claimed)
    await queue.complete_attempt(claimed, Attempt(AttemptResult.REFUSED, 500))
    await queue.note_health(claimed, "http_500")
    await queue.settle(claimed, DeliveryStatus.PENDING, "http_500", timedelta())
    await queue.claim(due.delivery_id)
    await queue.beat(under_way=0, attempts={"delivered": 1})
    await database.client.close()


def _fill(database: Database[Document], scope: NamespaceScope) -> None:
    """Many documents of the tenant itself, most of them ended: what a collection looks like after a year."""
    tenant = {"internal_id": scope.internal_id, "namespace_id": scope.namespace_id}
    moment = now() - timedelta(days=20)
    for name, count in FILLED.items():
        for start in range(0, count, 1_000):
            numbers = range(start, start + 1_000)
            database[name].insert_many(
                [
                    {
                        "_id": f"filler_{number}", **tenant, "created_at": moment + timedelta(seconds=number),
                        "seq": 1_000_000 + number, "number": 1_000_000 + number, "op_id": f"filler_{number}",
                        "hold_id": f"filler_{number}", "kind": "hold", "at": moment, "webhook_id": "wh_filler",
                        "collection_id": "col_filler", "actor_id": "key_filler", "action": "filler",
                        "version": number + 10, "secret_id": f"sec_{number}", "day": moment, "dek_version": 9,
                        "name": f"filler_{number}", "kek_id": "environment:k0",
                    }
                    for number in numbers
                ],
                ordered=False,
            )  # fmt: skip
    assert isinstance(database.client, MongoClient)
