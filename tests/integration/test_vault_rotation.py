"""Rotation of keys while secrets are in use: of 1,000 organizations, and with the command killed on the way.

No use fails, and the old key-encryption key opens nothing. And what is left of an organization that is deleted.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import Settings
from core.bootstrap import Services, build_services
from core.errors import IntegrityError, SecretUnusableError
from core.ids import Prefix, random_id
from core.storage.keyring import Keyring
from core.storage.mongo import Document
from core.storage.scope import NamespaceScope, OrganizationScope
from core.vault.cipher import Cipher, DataKey, SecretRecord
from core.vault.data_keys import DataKeys, wrapped_of
from core.vault.kek_environment import EnvironmentKeys
from core.vault.resolver import SecretResolver, UsedBy
from core.vault.secret import SecretLimits
from core.vault.store import SecretStore
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import EventType
from core.webhooks.own_headers import open_headers
from tests.servers import own_database

ORGANIZATIONS = 1_000
FEW = 60
USES_A_SECOND = 20
OLD, NEW, OTHER = (f"k{n}:{base64.urlsafe_b64encode(bytes([n]) * 32).decode()}" for n in (1, 2, 3))
_PATIENCE_SECONDS = 600.0
_LOOK_EVERY_SECONDS = 0.2


def ring(*keys: str) -> EnvironmentKeys:
    return EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [SecretStr(key) for key in keys]))


@pytest.fixture
def services(mongo_url: str, redis_url: str, tmp_path: Path) -> Iterator[Services]:
    """Of a database of its own: a rotation goes over all organizations that there are."""
    settings = Settings(
        _env_file=None,
        data=tmp_path,
        mongo_url=own_database(mongo_url),
        redis_url=redis_url,
        vault_keys=f"{NEW},{OLD}",
        key_peppers=OTHER,
        audit_keys=OTHER,
        # a process that remembers no key, so that each use meets the keys as they are stored
        data_key_cache_seconds=0,
    )
    services = build_services(settings)
    yield services
    services.close()


def many_organizations(services: Services, count: int) -> list[NamespaceScope]:
    """Organizations with one secret each under the old key-encryption key, stored in bulk."""
    keys = DataKeys(services.handles, ring(OLD), kept_seconds=60)
    cipher, kek = Cipher(keys), ring(OLD)
    rows: dict[str, list[dict[str, Any]]] = {"organizations": [], "org_keys": [], "secrets": [], "secret_versions": []}
    scopes = []
    moment = services.clock.now() - timedelta(days=1)
    for number in range(count):
        scope = NamespaceScope(random_id(Prefix.INTERNAL), random_id(Prefix.NAMESPACE))
        scopes.append(scope)
        tenant = {"internal_id": scope.internal_id}
        key_row = {**keys.new_key(scope, 1), "created_at": moment}
        key = DataKey(scope.internal_id, 1, kek.unwrap(wrapped_of(key_row), scope.internal_id, 1))
        record = SecretRecord(scope.internal_id, random_id(Prefix.SECRET), "k")
        sealed = vars(cipher.seal(key, record, f"the value of {number}"))
        fields = {**tenant, "name": "k", "version": 1, "created_by": None, "created_at": moment, **sealed}
        limits: dict[str, Any] = {"expires_at": None, "disabled": False, "allowed_hosts": [], "allowed_namespaces": []}
        rows["organizations"].append(
            {
                "_id": scope.internal_id, **tenant, "organization_id": random_id(Prefix.ORGANIZATION), "name": "O",
                "email": "o@example.com", "plan": "enterprise", "created_at": moment, "updated_at": moment,
            }
        )  # fmt: skip
        rows["org_keys"].append({**tenant, **key_row})
        rows["secrets"].append(
            {"_id": record.record_id, **fields, **limits, "updated_at": moment, "last_used_at": None}
        )
        rows["secret_versions"].append({"_id": f"{record.record_id}.1", "secret_id": record.record_id, **fields})
    for name, documents in rows.items():
        services.database[name].insert_many(documents, ordered=False)
    return scopes


@dataclass
class Traffic:
    """Uses of secrets at a steady rate, from a thread, each as a job makes them."""

    resolver: SecretResolver
    scopes: list[NamespaceScope]
    used: int = 0
    failures: list[str] = field(default_factory=list)
    longest_ms: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Traffic":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._thread.join()

    def _run(self) -> None:
        random, due = Random(7), time.monotonic()
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            due += 1 / USES_A_SECOND
            started = time.monotonic()
            number = random.randrange(len(self.scopes))
            self._use(number)
            self.longest_ms = max(self.longest_ms, (time.monotonic() - started) * 1000)

    def _use(self, number: int) -> None:
        try:
            resolved = self.resolver.resolve(self.scopes[number], ["k"], UsedBy("key_1", "task_1"))
            if resolved.values != [f"the value of {number}"]:
                self.failures.append("another value")
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        self.used += 1


def command(services: Services, *words: str) -> subprocess.Popen[bytes]:
    """`keystage` as an operator runs it."""
    environment = {
        **os.environ,
        "KEYSTAGE_MONGO_URL": services.settings.mongo_url,
        "KEYSTAGE_REDIS_URL": services.settings.redis_url,
        "KEYSTAGE_VAULT_KEYS": f"{NEW},{OLD}",
        "KEYSTAGE_KEY_PEPPERS": OTHER,
        "KEYSTAGE_AUDIT_KEYS": OTHER,
    }
    program = Path(sys.executable).parent / "keystage"
    return subprocess.Popen([program, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def run(services: Services, *words: str) -> Any:
    """What the command prints as JSON."""
    with command(services, *words) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
    assert process.returncode == 0, printed
    return json.loads(printed)


def killed_when(services: Services, half_way: Callable[[], bool], *words: str) -> None:
    """Run the command and kill it when it is half-way."""
    with command(services, *words) as process:
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not half_way():
                assert time.monotonic() < deadline
                with suppress(subprocess.TimeoutExpired):
                    # a look costs the database something: not more often than this
                    process.wait(_LOOK_EVERY_SECONDS)
                    pytest.fail("it ended before it could be killed")
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_both_rotations_of_many_organizations_in_use(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    scopes = many_organizations(services, ORGANIZATIONS)
    started = time.monotonic()
    with Traffic(services.resolver, scopes) as traffic:
        done = run(services, "vault", "rotate", "--kek", "--json")
        done |= run(services, "vault", "rotate", "--data-keys", "--json")
    took = time.monotonic() - started
    with capsys.disabled():
        print(
            f"\norganizations: {ORGANIZATIONS}, both keys rotated in {took:.1f} s, {done}; uses: {traffic.used}",
            end=" ",
        )
        print(f"({traffic.used / took:.1f}/s, longest {traffic.longest_ms:.0f} ms), failed: {len(traffic.failures)}")
    assert traffic.failures == []
    assert traffic.used > USES_A_SECOND
    assert done["kek"]["rewrapped"] == done["data_keys"]["begun"] == ORGANIZATIONS
    assert done["kek"]["unreadable"] == done["data_keys"]["unreadable"] == 0
    assert_old_key_opens_nothing(services, scopes)
    assert_rotated_once(services, scopes)
    assert ("data_key_rotated", "success") in audited(services, scopes[0].organization)
    assert services.key_rotation.states() == [{"kek_id": "environment:k2", "state": "active", "keys": ORGANIZATIONS}]


def test_a_rotation_that_is_killed_goes_on_where_it_was(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    scopes = many_organizations(services, FEW)
    ours, org_keys = among(scopes), services.database["org_keys"]
    before = f"{services.clock.now():%Y-%m-%dT%H:%M:%S}"
    words = ("vault", "rotate", "--data-keys", "--before", before, "--json")
    with Traffic(services.resolver, scopes) as traffic:
        rewrapped = {**ours, "kek_id": "environment:k2"}
        killed_when(services, lambda: bool(org_keys.find_one(rewrapped)), "vault", "rotate", "--kek", "--json")
        run(services, "vault", "rotate", "--kek", "--json")
        killed_when(services, lambda: bool(org_keys.find_one({**ours, "version": 2})), *words)
        resumed = run(services, *words)["data_keys"]
    with capsys.disabled():
        print(f"\norganizations: {FEW}, killed twice; uses: {traffic.used}, failed: {len(traffic.failures)}; {resumed}")
    assert traffic.failures == []
    assert 0 < resumed["begun"] < FEW
    assert_old_key_opens_nothing(services, scopes)
    assert_rotated_once(services, scopes)


def among(scopes: list[NamespaceScope]) -> dict[str, Any]:
    return {"internal_id": {"$in": [scope.internal_id for scope in scopes]}}


def assert_old_key_opens_nothing(services: Services, scopes: list[NamespaceScope]) -> None:
    rows = [row for row in services.database["org_keys"].find(among(scopes)) if "wrapped" in row]
    assert len(rows) == len(scopes)
    for row in rows:
        assert len(ring(NEW).unwrap(wrapped_of(row), row["internal_id"], row["version"])) == 32
        with pytest.raises(IntegrityError):
            ring(OLD).unwrap(wrapped_of(row), row["internal_id"], row["version"])


def assert_rotated_once(services: Services, scopes: list[NamespaceScope]) -> None:
    """Each organization has its second key and no third; the first is destroyed, and no value is under it."""
    rows = services.database["org_keys"].find(among(scopes), {"version": 1, "state": 1})
    states = sorted((row["version"], row["state"]) for row in rows)
    assert states == [(1, "destroyed")] * len(scopes) + [(2, "active")] * len(scopes)
    for name in ("secrets", "secret_versions"):
        assert services.database[name].count_documents({**among(scopes), "dek_version": {"$ne": 2}}) == 0
    fresh = DataKeys(services.handles, ring(NEW), kept_seconds=0)
    store = SecretStore(services.handles, fresh, Cipher(fresh))
    for number in (0, len(scopes) // 2, len(scopes) - 1):
        secret, sealed = store.sealed(scopes[number].organization, ["k"])["k"]
        assert Cipher(fresh).open(secret.record, sealed) == f"the value of {number}"


def one_organization(services: Services) -> NamespaceScope:
    organization = services.organizations.create("O", "o@example.com", "enterprise")
    namespace = services.namespaces.create(organization.scope, "default")
    services.secrets.create(organization.scope, random_id(Prefix.SECRET), "k", "the first value", SecretLimits())
    return namespace.scope


def use(services: Services, scope: NamespaceScope) -> str:
    (value,) = services.resolver.resolve(scope, ["k"], UsedBy("key_1", "task_1")).values
    return value


def test_versions_signing_secrets_and_headers_move_along_with_the_data_key(services: Services) -> None:
    scope = one_organization(services)
    services.secrets.update(scope, "k", "the second value")
    webhook(services, scope)
    done = services.key_rotation.rotate(scope.organization, services.clock.now() + timedelta(seconds=1))
    # the secret, its two versions, the webhook's secret and its headers
    assert (done.begun, done.values, done.destroyed, done.unreadable) == (True, 5, 1, 0)
    services.secrets.roll_back(scope, "k", 1)
    assert use(services, scope) == "the first value"
    found = found_webhook(services, scope)
    assert [found[name]["dek_version"] for name in ("secret", "sealed_headers")] == [2, 2]
    fresh = Cipher(DataKeys(services.handles, ring(NEW), kept_seconds=0))
    assert open_headers(fresh, scope.internal_id, found) == {"Authorization": "Bearer of-mine"}


def test_headers_that_do_not_open_keep_their_key_and_are_audited(services: Services) -> None:
    scope = one_organization(services)
    webhook(services, scope)
    services.database["webhooks"].update_one(
        {"internal_id": scope.internal_id}, {"$set": {"sealed_headers.token": "gAAAA"}}
    )
    done = services.key_rotation.rotate(scope.organization, services.clock.now() + timedelta(seconds=1))
    assert (done.destroyed, done.unreadable) == (0, 1)
    failures = services.database["audit"].find({"internal_id": scope.internal_id, "status": "failure"})
    said = [(entry["resource_type"], entry["resource_id"], entry["reason"]) for entry in failures]
    assert said == [("webhook", "wh_0123456789abcdef", "headers_unreadable")]


def webhook(services: Services, scope: NamespaceScope) -> None:
    headers = {"Authorization": "Bearer of-mine"}
    endpoint = EndpointSettings("hook", "https://example.com/", (EventType.RESOURCE_EXECUTED,), headers=headers)
    services.webhooks.create(scope, "wh_0123456789abcdef", endpoint, "a signing secret of some length")


def found_webhook(services: Services, scope: NamespaceScope) -> Document:
    found = services.database["webhooks"].find_one({"internal_id": scope.internal_id})
    assert found is not None
    return found


def test_a_value_that_does_not_open_keeps_its_key_and_is_reported_and_audited(services: Services) -> None:
    scope = one_organization(services)
    services.secrets.create(scope, random_id(Prefix.SECRET), "spoilt", "some other value", SecretLimits())
    services.database["secrets"].update_one(
        {"internal_id": scope.internal_id, "name": "spoilt"}, {"$set": {"token": "gAAAA"}}
    )
    done = services.key_rotation.rotate(scope.organization, services.clock.now() + timedelta(seconds=1))
    assert (done.destroyed, done.unreadable) == (0, 1)
    assert use(services, scope) == "the first value"
    failures = services.database["audit"].find({"internal_id": scope.internal_id, "status": "failure"})
    said = [(entry["action"], entry["resource_type"], entry["resource_id"], entry["reason"]) for entry in failures]
    assert said == [("secret_accessed", "secret", "spoilt", "secret_unreadable")]


def test_values_stored_while_keys_rotate_are_all_readable_afterwards(services: Services) -> None:
    scope = one_organization(services)
    stopping, stored = threading.Event(), [1]

    def store() -> None:
        while not stopping.is_set():
            stored[0] = services.secrets.update(scope, "k", f"the value {stored[0] + 1}").version

    writer = threading.Thread(target=store)
    writer.start()
    begun = destroyed = 0
    try:
        while stored[0] < 12 or begun < 4:
            assert writer.is_alive()
            moment = services.clock.now() + timedelta(seconds=1)
            done = services.key_rotation.rotate(scope.organization, moment)
            begun, destroyed = begun + done.begun, destroyed + done.destroyed
    finally:
        stopping.set()
        writer.join()
    destroyed += services.key_rotation.rotate(scope.organization, services.clock.now() - timedelta(days=1)).destroyed
    assert destroyed == begun
    assert use(services, scope) == f"the value {stored[0]}"
    secret = services.secrets.get(scope, "k")
    # the oldest first: each new version pushes one out
    for version in reversed(services.secrets.versions(secret)):
        services.secrets.roll_back(scope, "k", version.version)


def test_a_deleted_organization_is_refused_at_once_and_its_keys_are_gone(services: Services) -> None:
    scope = one_organization(services)
    organization = services.organizations.get(scope.organization)
    assert use(services, scope) == "the first value"
    kept = services.database["secrets"].find_one({"internal_id": scope.internal_id})
    assert kept is not None
    webhook(services, scope)
    in_clear = {"$set": {"headers": {"X-A": "stored in clear"}}}
    services.database["webhooks"].update_one({"internal_id": scope.internal_id}, in_clear)
    shown = run(services, "org", "delete", "--org", organization.organization_id, "--yes")
    assert shown == {"organization_id": organization.organization_id, "deleted": True, "data_keys_destroyed": 1}
    with pytest.raises(SecretUnusableError) as refused:
        use(services, scope)
    assert refused.value.code == "secret_missing"
    # even a copy of the token, put back, is noise
    services.database["secrets"].insert_one(kept)
    with pytest.raises(SecretUnusableError) as refused:
        use(services, scope)
    assert refused.value.code == "secret_unreadable"
    hook = found_webhook(services, scope)
    assert "stored in clear" not in repr(hook)
    with pytest.raises(IntegrityError):
        open_headers(Cipher(DataKeys(services.handles, ring(NEW, OLD), kept_seconds=0)), scope.internal_id, hook)
    rows = list(services.database["org_keys"].find({"internal_id": scope.internal_id}))
    assert [(row["state"], "wrapped" in row) for row in rows] == [("destroyed", False)]
    assert ("organization_deleted", "success") in audited(services, scope.organization)


def audited(services: Services, scope: OrganizationScope) -> set[tuple[str, str]]:
    return {
        (row["action"], row["status"]) for row in services.database["audit"].find({"internal_id": scope.internal_id})
    }


def test_an_operator_sees_who_used_a_secret_and_under_which_key_all_lie(services: Services) -> None:
    scope = one_organization(services)
    use(services, scope)
    services.secret_use.write()
    organization_id = services.organizations.get(scope.organization).organization_id
    (shown,) = run(services, "vault", "access", "--org", organization_id, "--json")
    assert (shown["secret_name"], shown["callers"], shown["unusual"]) == ("k", {"key_1": 1}, [])
    states = run(services, "vault", "status", "--json")
    assert states == services.key_rotation.states()
    assert {row["kek_id"] for row in states} <= {"environment:k1", "environment:k2"}
    reports = run(services, "vault", "rotate", "--kek", "--data-keys", "--org", organization_id, "--json")
    assert (reports["data_keys"]["begun"], reports["kek"]["kek_id"]) == (1, "environment:k2")
