"""Secrets and their use on a real database: versions, limits, typed refusals, the record of every use, and its cost."""

import base64
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from core.audit.pages import LogFilter
from core.audit.trail import AuditTrail
from core.errors import (
    AlreadyExistsError,
    BackendAwayError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    SecretUnusableError,
    UnavailableError,
    UnfitDatabaseError,
    ValidationFailedError,
)
from core.ids import Prefix, random_id
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document, database_clock
from core.storage.paging import PageRequest
from core.storage.scope import NamespaceScope
from core.vault.access import OTHERS, USED, Access, AccessStore
from core.vault.cipher import Cipher
from core.vault.data_keys import DataKeys
from core.vault.kek_environment import EnvironmentKeys
from core.vault.resolved import NO_SECRETS
from core.vault.resolver import SecretResolver, UsedBy
from core.vault.rotation import KeyRotation
from core.vault.secret import SecretLimits
from core.vault.store import SecretStore
from core.vault.use import SecretUse
from tests.engines import meets

OLDER, NEWER = (SecretStr(f"k{number}:{base64.urlsafe_b64encode(bytes([number] * 32)).decode()}") for number in (1, 2))
KEYS = Keyring("KEYSTAGE_VAULT_KEYS", [OLDER])
USED_BY = UsedBy("key_1", "task_1", "req_1", {"openai": ("api.openai.com",)})
VALUE = "sk-proj-of-the-customer"
ROUNDS = 100


@dataclass
class Vault:
    """Everything of the vault, on one database."""

    database: Database[Document]
    scope: NamespaceScope
    keys: DataKeys
    secrets: SecretStore
    trail: AuditTrail
    patterns: AccessStore
    use: SecretUse
    resolver: SecretResolver

    def create(self, name: str = "openai", value: str = VALUE, **limits: Any) -> str:
        """A new secret; its id."""
        secret_id = random_id(Prefix.SECRET)
        self.secrets.create(self.scope, secret_id, name, value, SecretLimits(**limits), "key_maker")
        return secret_id

    def value(self, name: str = "openai") -> str:
        """What a job of the namespace gets."""
        return self.resolver.resolve(self.scope, [name], USED_BY).by_name[name].value

    def audited(self) -> list[tuple[str, str, str | None]]:
        """Resource, status and reason of every entry, oldest first."""
        entries = self.trail.page(self.scope.organization, LogFilter(), PageRequest(100)).records
        return [(entry.resource_id, entry.status, entry.reason) for entry in reversed(entries)]


@pytest.fixture
def vault(database: Database[Document], handles: Handles, scope: NamespaceScope) -> Iterator[Vault]:
    clock = database_clock(database)
    keys = DataKeys(handles, EnvironmentKeys(KEYS), kept_seconds=60)
    cipher = Cipher(keys)
    secrets, patterns = SecretStore(handles, keys, cipher), AccessStore(handles)
    trail, use = AuditTrail(handles, clock, KEYS), SecretUse(secrets, patterns)
    resolver = SecretResolver(secrets, cipher, trail, use, clock)
    yield Vault(database, scope, keys, secrets, trail, patterns, use, resolver)
    use.close()


def test_a_value_is_stored_sealed_and_comes_back_to_a_job(vault: Vault) -> None:
    vault.create()
    stored = [*vault.database["secrets"].find(), *vault.database["secret_versions"].find()]
    assert VALUE not in repr(stored)
    assert vault.value() == VALUE
    assert repr(vault.resolver.resolve(vault.scope, ["openai"], USED_BY)).count(VALUE) == 0


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(codec="utf-8"), min_size=8, max_size=200))
def test_any_text_comes_back_as_it_was(vault: Vault, value: str) -> None:
    name = random_id(Prefix.REQUEST).lower()
    vault.create(name, value)
    assert vault.value(name) == value


def test_a_new_value_is_the_next_version_and_ten_are_kept(vault: Vault) -> None:
    vault.create()
    for number in range(2, 14):
        assert vault.secrets.update(vault.scope, "openai", f"value number {number}", "key_2").version == number
    secret = vault.secrets.get(vault.scope, "openai")
    assert [each.version for each in vault.secrets.versions(secret)] == list(range(13, 3, -1))
    assert vault.value() == "value number 13"


def test_an_earlier_value_comes_back_as_a_new_version(vault: Vault) -> None:
    vault.create()
    vault.secrets.update(vault.scope, "openai", "a wrong value")
    assert vault.secrets.roll_back(vault.scope, "openai", 1).version == 3
    assert vault.value() == VALUE
    with pytest.raises(NotFoundError):
        vault.secrets.roll_back(vault.scope, "openai", 9)


def test_a_name_is_taken_once_and_the_same_id_again_is_the_same_secret(vault: Vault) -> None:
    secret_id = vault.create()
    with pytest.raises(AlreadyExistsError):
        vault.create()
    again = vault.secrets.create(vault.scope, secret_id, "openai", "another value", SecretLimits())
    assert (again.secret_id, again.version) == (secret_id, 1)
    assert vault.value() == VALUE


def test_two_organizations_have_secrets_of_one_name(vault: Vault) -> None:
    vault.create()
    other = NamespaceScope(random_id(Prefix.INTERNAL), vault.scope.namespace_id)
    vault.secrets.create(other, random_id(Prefix.SECRET), "openai", "the value of another", SecretLimits())
    assert vault.value() == VALUE
    assert vault.resolver.resolve(other, ["openai"], USED_BY).values == ["the value of another"]


@pytest.mark.parametrize(
    ("name", "value", "hosts"), [("Bad", VALUE, ()), ("good", "short", ()), ("good", VALUE, ("https://x",))]
)
def test_what_may_not_be_stored_is_refused(vault: Vault, name: str, value: str, hosts: tuple[str, ...]) -> None:
    with pytest.raises(ValidationFailedError):
        vault.create(name, value, allowed_hosts=hosts)
    assert vault.secrets.names(vault.scope) == []


# Use -------------------------------------------------------------------------------------------------


def test_every_use_is_recorded_before_the_value_is_given(vault: Vault) -> None:
    vault.create()
    vault.value()
    assert vault.audited() == [("openai", "success", "task_1")]


def test_without_its_record_a_use_does_not_happen(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.create()
    failures: list[tuple[Exception, str]] = [
        # whose job waits, and does not count as tried
        (AutoReconnect("away"), "MongoDB does not answer"),
        (UnavailableError("others are always first"), "audit log cannot be written"),
    ]
    for failure, said in failures:

        def fail(*_: object, failure: Exception = failure) -> None:
            raise failure

        with monkeypatch.context() as patch:
            patch.setattr(AuditTrail, "append", fail)
            with pytest.raises(UnavailableError, match=said) as refused:
                vault.value()
        assert isinstance(refused.value, BackendAwayError) is isinstance(failure, AutoReconnect)


@pytest.mark.parametrize("fault", [KeyError("seq"), IntegrityError(), UnfitDatabaseError()])
def test_a_fault_in_its_record_is_no_absence_of_the_log(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(*_: object) -> None:
        raise fault

    vault.create()
    monkeypatch.setattr(AuditTrail, "append", fail)
    with pytest.raises(type(fault)):
        vault.value()


def expired(vault: Vault) -> None:
    moment = database_clock(vault.database).now()
    vault.secrets.limit(vault.scope, "openai", lambda _: SecretLimits(expires_at=moment - timedelta(seconds=1)))


def elsewhere(vault: Vault) -> None:
    vault.secrets.limit(vault.scope, "openai", lambda _: SecretLimits(allowed_namespaces=("ns_other",)))


def unreadable(vault: Vault) -> None:
    vault.create("another")
    token = vault.database["secrets"].find_one({"name": "another"})["token"]  # type: ignore[index]
    vault.database["secrets"].update_one({"name": "openai"}, {"$set": {"token": token}})


REFUSALS: list[tuple[str, Callable[[Vault], object]]] = [
    ("secret_missing", lambda vault: vault.secrets.delete(vault.scope, "openai")),
    (
        "secret_disabled",
        lambda vault: vault.secrets.limit(vault.scope, "openai", lambda _: SecretLimits(disabled=True)),
    ),
    ("secret_expired", expired),
    ("secret_wrong_namespace", elsewhere),
    ("secret_unreadable", unreadable),
]


@pytest.mark.parametrize(("code", "spoil"), REFUSALS, ids=[code for code, _ in REFUSALS])
def test_a_secret_that_cannot_be_used_fails_the_job_and_is_recorded(
    vault: Vault, code: str, spoil: Callable[[Vault], object]
) -> None:
    vault.create()
    vault.create("good")
    spoil(vault)
    with pytest.raises(SecretUnusableError) as refused:
        vault.resolver.resolve(vault.scope, ["good", "openai"], USED_BY)
    assert refused.value.code == code
    assert "'openai'" in refused.value.message
    assert VALUE not in str(refused.value)
    status = "failure" if code == "secret_unreadable" else "denied"
    assert vault.audited() == [("openai", status, f"{code}:task_1")]


def test_no_names_need_no_vault(vault: Vault) -> None:
    assert vault.resolver.resolve(vault.scope, [], USED_BY) is NO_SECRETS
    assert vault.audited() == []


def test_a_secret_goes_only_where_it_may(vault: Vault) -> None:
    vault.create(allowed_hosts=("api.openai.com", "*.example.com"))
    secret = vault.resolver.resolve(vault.scope, ["openai"], USED_BY).by_name["openai"]
    assert secret.for_host("API.openai.com.") == secret.for_host("a.example.com") == VALUE
    for host in ("example.com", "evil-api.openai.com", "api.openai.com.evil.example", "badexample.com"):
        with pytest.raises(SecretUnusableError) as refused:
            secret.for_host(host)
        assert refused.value.code == "secret_host_mismatch"


def test_a_rotated_value_is_used_from_the_next_job_on(vault: Vault) -> None:
    vault.create()
    assert vault.value() == VALUE
    vault.secrets.update(vault.scope, "openai", "the new value")
    assert vault.value() == "the new value"


def test_of_two_changes_at_once_neither_takes_back_what_the_other_forbids(vault: Vault) -> None:
    vault.create()
    tries: list[SecretLimits] = []

    def bind(limits: SecretLimits) -> SecretLimits:
        tries.append(limits)
        if len(tries) == 1:
            vault.secrets.limit(vault.scope, "openai", lambda standing: replace(standing, disabled=True))
        return replace(limits, allowed_hosts=("api.openai.com",))

    changed = vault.secrets.limit(vault.scope, "openai", bind)
    assert changed.limits == SecretLimits(disabled=True, allowed_hosts=("api.openai.com",))
    assert len(tries) == 2


# Access patterns -------------------------------------------------------------------------------------


def test_uses_are_counted_by_caller_host_and_outcome_without_a_write_each(vault: Vault) -> None:
    secret_id = vault.create()
    for _ in range(3):
        vault.value()
    vault.secrets.limit(vault.scope, "openai", lambda _: SecretLimits(disabled=True))
    with pytest.raises(SecretUnusableError):
        vault.value()
    assert vault.database["secret_access"].count_documents({}) == 0
    vault.use.write()
    moment = database_clock(vault.database).now()
    pattern = vault.patterns.pattern(vault.scope, secret_id, moment)
    assert pattern.total("callers") == {"key_1": 4}
    assert pattern.total("hosts") == {"api.openai.com": 4}
    assert pattern.total("outcomes") == {USED: 3, "secret_disabled": 1}
    assert [(found.kind.value, found.what, found.count) for found in pattern.findings] == [
        ("denied", "secret_disabled", 1)
    ]
    used_at = vault.secrets.get(vault.scope, "openai").last_used_at
    assert used_at is not None
    assert (used_at.second, used_at.microsecond) == (0, 0)


def test_a_day_stays_a_small_document_however_many_callers_and_hosts_it_sees(vault: Vault) -> None:
    moment = database_clock(vault.database).now()
    vault.create()
    accesses = [Access("sec_1", f"key_{n}", (f"h{n}.example.com",), USED, moment) for n in range(400)]
    for start in range(0, 400, 50):
        vault.patterns.add(vault.scope, accesses[start : start + 50])
    pattern = vault.patterns.pattern(vault.scope, "sec_1", moment)
    assert len(pattern.total("hosts")) == len(pattern.total("callers")) == 101
    assert pattern.total("hosts")[OTHERS] == 300
    assert pattern.days[0].uses == 400


def test_deleting_a_secret_takes_its_versions_and_patterns_along(vault: Vault) -> None:
    vault.create()
    vault.value()
    vault.use.write()
    vault.secrets.delete(vault.scope, "openai")
    for name in ("secrets", "secret_versions", "secret_access"):
        assert vault.database[name].count_documents({}) == 0
    with pytest.raises(NotFoundError):
        vault.secrets.delete(vault.scope, "openai")


# Data keys -------------------------------------------------------------------------------------------


def test_an_organization_gets_one_data_key_and_it_is_not_kept_in_clear(vault: Vault) -> None:
    vault.create()
    vault.create("another")
    (row,) = vault.database["org_keys"].find()
    key = vault.keys.find(vault.scope.internal_id, 1)
    assert key is not None
    assert key.material not in bytes(row["wrapped"])
    assert (row["state"], row["kek_id"]) == ("active", "environment:k1")


def test_a_data_key_is_unwrapped_again_after_its_time_in_memory(vault: Vault, handles: Handles) -> None:
    vault.create()
    unwrapped: list[int] = []

    class Counting(EnvironmentKeys):
        def unwrap(self, wrapped: Any, internal_id: str, version: int) -> bytes:
            unwrapped.append(version)
            return super().unwrap(wrapped, internal_id, version)

    for kept_seconds, expected in ((60.0, 1), (0.0, 3)):
        unwrapped.clear()
        keys = DataKeys(handles, Counting(KEYS), kept_seconds)
        for _ in range(3):
            assert keys.find(vault.scope.internal_id, 1) is not None
        assert len(unwrapped) == expected


def test_a_data_key_of_another_organization_does_not_open(vault: Vault, handles: Handles) -> None:
    vault.create()
    other = NamespaceScope(random_id(Prefix.INTERNAL), vault.scope.namespace_id)
    vault.secrets.create(other, random_id(Prefix.SECRET), "openai", VALUE, SecretLimits())
    ours = vault.database["org_keys"].find_one({"internal_id": vault.scope.internal_id})
    assert ours is not None
    vault.database["org_keys"].update_one({"internal_id": other.internal_id}, {"$set": {"wrapped": ours["wrapped"]}})
    resolver = replace_keys(vault, handles)
    with pytest.raises(SecretUnusableError) as refused:
        resolver.resolve(other, ["openai"], USED_BY)
    assert refused.value.code == "secret_unreadable"


def test_a_data_key_is_wrapped_anew_for_its_own_organization(vault: Vault, handles: Handles) -> None:
    vault.create()
    both = EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [NEWER, OLDER]))
    done = KeyRotation(handles, both, vault.keys, Cipher(vault.keys), vault.trail).rewrap(vault.scope.organization)
    assert (done.rewrapped, done.unreadable) == (1, 0)
    keys = DataKeys(handles, EnvironmentKeys(Keyring("KEYSTAGE_VAULT_KEYS", [NEWER])), kept_seconds=60)
    assert keys.find(vault.scope.internal_id, 1) == vault.keys.find(vault.scope.internal_id, 1)


def test_a_destroyed_data_key_is_gone_from_memory_at_once(vault: Vault, handles: Handles) -> None:
    vault.create()
    assert vault.keys.find(vault.scope.internal_id, 1) is not None
    rotation = KeyRotation(handles, EnvironmentKeys(KEYS), vault.keys, Cipher(vault.keys), vault.trail)
    assert rotation.destroy_all(vault.scope.organization) == 1
    assert vault.keys.find(vault.scope.internal_id, 1) is None


def test_what_was_destroyed_is_never_replaced(vault: Vault) -> None:
    vault.create()
    vault.database["org_keys"].update_many(
        {}, {"$set": {"state": "destroyed"}, "$unset": {"wrapped": "", "kek_id": ""}}
    )
    with pytest.raises(ConflictError):
        vault.create("another")


@meets("unique.freed_by_leaving_a_partial_index")
def test_a_write_whose_key_was_retired_meanwhile_begins_again_under_the_new_one(
    vault: Vault, handles: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.create()
    retired, active = vault.keys.active(vault.scope), vault.keys.active
    rotation = KeyRotation(handles, EnvironmentKeys(KEYS), vault.keys, Cipher(vault.keys), vault.trail)
    moment = database_clock(vault.database).now() + timedelta(seconds=1)
    assert rotation.rotate(vault.scope.organization, moment).destroyed == 1
    looks = iter([retired])
    monkeypatch.setattr(vault.keys, "active", lambda scope: next(looks, None) or active(scope))
    vault.create("another")
    assert next(looks, None) is None
    assert {row["dek_version"] for row in vault.database["secrets"].find()} == {2}
    assert vault.value("another") == VALUE


def replace_keys(vault: Vault, handles: Handles) -> SecretResolver:
    """The resolver of a process that has no key in memory."""
    cipher = Cipher(DataKeys(handles, EnvironmentKeys(KEYS), kept_seconds=60))
    secrets = SecretStore(handles, vault.keys, cipher)
    return SecretResolver(secrets, cipher, vault.trail, vault.use, database_clock(vault.database))


# Cost ------------------------------------------------------------------------------------------------


def test_the_cost_of_a_reference_is_printed_beside_that_of_one_read(
    vault: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    vault.create()
    vault.value()
    secret, sealed = vault.secrets.sealed(vault.scope, ["openai"])["openai"]
    cipher = Cipher(vault.keys)
    costs = medians(
        {
            "one MongoDB read": lambda: vault.database["secrets"].find_one({"_id": secret.secret_id}),
            "resolve, recorded": vault.value,
            "find and decrypt": lambda: cipher.open(
                secret.record, vault.secrets.sealed(vault.scope, ["openai"])["openai"][1]
            ),
            "decrypt alone": lambda: cipher.open(secret.record, sealed),
        }
    )
    read = costs["one MongoDB read"]
    with capsys.disabled():
        for what, cost in costs.items():
            print(f"\n{what}: {cost * 1e6:.0f} µs, {cost / read:.2f} reads", end="")
        print()
    assert vault.trail.count(vault.scope.organization) == ROUNDS + 1


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds that each call takes, in turn: this machine may have other things to do, and then for all of them."""
    taken: dict[str, list[float]] = {what: [] for what in calls}
    for _ in range(ROUNDS):
        for what, call in calls.items():
            started = time.perf_counter()
            call()
            taken[what].append(time.perf_counter() - started)
    return {what: statistics.median(each) for what, each in taken.items()}
