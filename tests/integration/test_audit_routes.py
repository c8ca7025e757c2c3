"""The audit log over HTTP: the published paths and fields, for admins, and nothing of another tenant."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from core.audit.actions import AuditAction
from core.storage.scope import NamespaceScope
from core.tenancy.permissions import Permission
from tests.audit_log import record
from tests.integration.conftest import Tenant

LOGS = "/v1/organizations/audit/logs"
SETTINGS = "/v1/organizations/audit/settings"
PUBLISHED = {
    "audit_id", "timestamp", "resource_type", "resource_id", "action", "actor_id", "actor_type", "status", "changes",
    "reason", "ip_address", "user_agent", "actor_name", "actor_email", "actor_key_name",
}  # fmt: skip


def _write(tenant: Tenant, count: int) -> list[str]:
    """Entries of the tenant; their ids, oldest first."""
    actions = (AuditAction.WEBHOOK_CREATED, AuditAction.SECRET_DELETED)
    scope = tenant.scope.organization
    return [tenant.services.audit.append(scope, record(n, actions[n % 2])).audit_id for n in range(count)]


@pytest.fixture
def anywhere(tenant: Tenant) -> Tenant:
    """A tenant that names no namespace."""
    del tenant.headers["X-Namespace"]
    return tenant


def test_events_are_listed_newest_first_with_the_published_fields(anywhere: Tenant) -> None:
    ids = _write(anywhere, 5)
    page = anywhere.get(f"{LOGS}?skip=1&limit=2").get_json()
    assert set(page) == {"results", "total", "skip", "limit", "pagination"}
    assert [event["audit_id"] for event in page["results"]] == [ids[3], ids[2]]
    assert (page["total"], page["skip"], page["limit"]) == (5, 1, 2)
    event = page["results"][0]
    assert set(event) == PUBLISHED | {"seq", "request_id", "namespace_id", "count"}
    assert (event["action"], event["resource_type"], event["resource_id"]) == ("secret_deleted", "secret", "wh_3")
    assert event["timestamp"].endswith("Z")
    assert anywhere.get(f"{LOGS}/{ids[3]}").get_json() == event


def test_filters_narrow(anywhere: Tenant) -> None:
    ids = _write(anywhere, 6)

    def found(query: str) -> list[str]:
        return [event["audit_id"] for event in anywhere.get(f"{LOGS}?{query}").get_json()["results"]]

    assert found("action=secret_deleted&resource_type=secret") == [ids[5], ids[3], ids[1]]
    assert found("resource_id=wh_4") == [ids[4]]
    assert found("actor_id=key_1") == [ids[4], ids[1]]
    moment = anywhere.get(f"{LOGS}/{ids[2]}").get_json()["timestamp"]
    assert ids[2] in found(f"start={moment}&end={moment}")
    assert found("end=2020-01-01") == found("start=2999-01-01T00:00:00Z") == []


def test_a_namespace_narrows_the_list(tenant: Tenant) -> None:
    _write(tenant, 2)
    assert tenant.get(LOGS).get_json()["results"] == []


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        (f"{LOGS}?limit=1001", "limit"),
        (f"{LOGS}?limit=0", "limit"),
        (f"{LOGS}?limit=ten", "limit"),
        (f"{LOGS}?skip=-1", "skip"),
        (f"{LOGS}?skip=10001", "skip"),
        (f"{LOGS}?action=everything", "action"),
        (f"{LOGS}?start=yesterday", "start"),
        (f"{LOGS}?end=2026-13-01", "end"),
        (f"{LOGS}?start=0", "start"),
        (f"{LOGS}?end=-62135596800", "end"),
        (f"{LOGS}?action=", "action"),
        (f"{LOGS}?resource_id={'x' * 201}", "resource_id"),
        (f"{LOGS}/export?max_events=10001", "max_events"),
        (f"{LOGS}/export?actor_id={'x' * 201}", "actor_id"),
    ],
)
def test_a_bad_parameter_is_named(anywhere: Tenant, path: str, parameter: str) -> None:
    answer = anywhere.get(path)
    assert answer.status_code == 422
    assert answer.get_json()["error"]["details"]["validation_errors"][0]["location"] == [parameter]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_ends_of_time_are_no_fault(anywhere: Tenant, moment: str) -> None:
    for name in ("start", "end"):
        assert anywhere.get(f"{LOGS}?{name}={moment}").status_code == 200


def test_an_export_is_ndjson_and_says_when_it_was_cut(anywhere: Tenant) -> None:
    ids = _write(anywhere, 4)

    def lines(query: str) -> list[dict[str, Any]]:
        answer = anywhere.get(f"{LOGS}/export{query}")
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        # the exports themselves are in the log too
        found = [orjson.loads(line) for line in answer.data.splitlines()]
        return [line for line in found if line.get("action") != "audit_exported"]

    assert [line["audit_id"] for line in lines("")] == ids[::-1]
    # two entries for the first export, one that announces this one
    cut = lines("?max_events=6")
    assert [line["audit_id"] for line in cut[:-1]] == [ids[3], ids[2], ids[1]]
    assert cut[-1] == {"__truncated__": True, "max_events": 6}
    assert not any("__truncated__" in line for line in lines("?max_events=100"))


def test_settings_are_off_until_they_are_chosen(anywhere: Tenant) -> None:
    assert anywhere.get(SETTINGS).get_json() == {"read_auditing_enabled": False}
    assert anywhere.call("PATCH", SETTINGS, {"read_auditing_enabled": True}).get_json() == {
        "read_auditing_enabled": True
    }
    assert anywhere.get(SETTINGS).get_json() == {"read_auditing_enabled": True}
    refused = anywhere.call("PATCH", SETTINGS, {"read_auditing_enabled": "yes"})
    assert refused.status_code == 422
    assert anywhere.call("PATCH", SETTINGS, {}).status_code == 422


def test_only_an_admin_may_look(new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant(Permission.DELETE)
    for path in (LOGS, f"{LOGS}/export", f"{LOGS}/aud_1", SETTINGS):
        assert tenant.get(path).status_code == 403
    assert tenant.call("PATCH", SETTINGS, {"read_auditing_enabled": True}).status_code == 403


def test_nothing_of_another_tenant_and_no_internal_id_is_shown(new_tenant: Callable[..., Tenant]) -> None:
    one, other = new_tenant(), new_tenant()
    for tenant in (one, other):
        del tenant.headers["X-Namespace"]
    (audit_id,) = _write(one, 1)
    assert other.get(LOGS).get_json()["results"] == []
    foreign, absent = other.get(f"{LOGS}/{audit_id}"), other.get(f"{LOGS}/aud_none")
    assert (foreign.status_code, foreign.get_json()["error"]) == (404, absent.get_json()["error"])
    shown = b"".join(one.get(path).data for path in (LOGS, f"{LOGS}/export", f"{LOGS}/{audit_id}"))
    assert audit_id.encode() in shown
    assert b"internal_id" not in shown
    assert _internal_id(one.scope) not in shown


def _internal_id(scope: NamespaceScope) -> bytes:
    return scope.internal_id.encode()
