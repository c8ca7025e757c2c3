"""Webhooks by the API: what is refused, what is accepted with a warning, what is shown of headers, and what stays when
a webhook is removed."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from core.clock import now
from core.errors import UnavailableError
from core.ids import Prefix, random_id
from core.storage.scope import OrganizationScope
from core.webhooks.event import SENT, Event, EventType, Subject
from core.webhooks.relay import relay_events
from tests.integration.bodies import WEBHOOK
from tests.integration.conftest import Tenant
from workers.sweeper import Sweeper

HOOKS = "/v1/organizations/webhooks"
KEY = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def hook(**configs: Any) -> dict[str, Any]:
    return {**WEBHOOK, "channels": [{"channel": "webhook", "configs": {"url": "https://example.com/hook", **configs}}]}


def refused_with(tenant: Tenant, body: dict[str, Any], field: str) -> None:
    """Whatever way the body comes in, it is refused, and the field is named with what would be right."""
    path = f"{HOOKS}/{tenant.created(HOOKS, WEBHOOK)['webhook_id']}"
    for method, address in (("POST", HOOKS), ("POST", f"{HOOKS}/"), ("PUT", path)):
        answer = tenant.call(method, address, body)
        assert answer.status_code == 422, answer.get_json()
        [problem] = answer.get_json()["error"]["details"]["validation_errors"]
        assert problem["location"][:4] == ["channels", 0, "configs", field]


@pytest.mark.parametrize("secret", [f"v1,whsec_{KEY}", f" whsec_{KEY}", f"whsec_{KEY} ", "whsec_!", "short", "x" * 501])
def test_a_signing_secret_that_would_sign_wrongly_is_refused(tenant: Tenant, secret: str) -> None:
    refused_with(tenant, hook(signing_secret=secret), "signing_secret")


@pytest.mark.parametrize("url", ["http://0x7f.1/hook", "http://2130706433/", "https://u@example.com/", "https://a..b/"])
def test_a_url_that_two_readers_could_read_differently_is_refused(tenant: Tenant, url: str) -> None:
    refused_with(tenant, hook(url=url), "url")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/hook", "127.0.0.1 is not public"),
        ("http://localhost/hook", "localhost is not public"),
        ("http://[::1]/hook", "[::1] is not public"),
        ("https://example.com:8443/hook", "port 8443 is called only"),
        ("https://example.com/hook", None),
    ],
)
def test_a_url_that_will_be_blocked_is_saved_with_a_warning_that_names_the_setting(
    tenant: Tenant, url: str, said: str | None
) -> None:
    made = tenant.created(HOOKS, hook(url=url))
    changed = tenant.call("PUT", f"{HOOKS}/{made['webhook_id']}", hook(url=url)).get_json()
    for answer in (made, changed):
        warnings = answer.get("warnings", [])
        assert len(warnings) == (said is not None)
        assert all(said in one and "KEYSTAGE_EGRESS_ALLOW_CIDRS" in one for one in warnings if said)


def test_events_that_nothing_sends_are_accepted_with_a_warning_each_time_they_are_set(tenant: Tenant) -> None:
    body = {**WEBHOOK, "event_types": [name.value for name in EventType]}
    key = {"Idempotency_Key": "once"}
    answers = [tenant.post(HOOKS, body, **key).get_json(), tenant.post(HOOKS, body, **key).get_json()]
    path = f"{HOOKS}/{answers[0]['webhook_id']}"
    answers.append(tenant.call("PUT", path, body).get_json())
    for answer in answers:
        [warning] = answer["warnings"]
        assert warning.startswith("Accepted, but nothing sends these events yet: alert.created, ")
        assert warning.count(",") == len(EventType) - len(SENT)
        assert set(answer["event_types"]) == set(EventType)
    assert "warnings" not in tenant.get(path).get_json()
    assert "warnings" not in tenant.call("PUT", path, {**WEBHOOK, "event_types": sorted(SENT)}).get_json()
    assert tenant.post(HOOKS, {**WEBHOOK, "event_types": ["*"]}).status_code == 422


def test_header_values_are_shown_to_nobody_and_come_back_as_they_are_shown(tenant: Tenant) -> None:
    made = tenant.created(HOOKS, hook(headers={"Authorization": "Bearer of-mine", "X-Env": "prod"}))
    path = f"{HOOKS}/{made['webhook_id']}"
    listed = tenant.post(f"{HOOKS}/list", {}).get_json()["results"][0]
    masked = {"Authorization": "redacted", "X-Env": "redacted"}
    for shown in (made, listed, tenant.get(path).get_json()):
        assert shown["channels"][0]["configs"]["headers"] == masked
    # what was read is sent back with one change, as a client does
    back = {**tenant.get(path).get_json(), "webhook_name": "renamed"}
    assert tenant.call("PUT", path, back).get_json()["channels"][0]["configs"]["headers"] == masked
    refused_with(tenant, hook(headers={"X-Other": "redacted"}), "headers")
    refused_with(tenant, hook(headers={"X-A": "a", "x-a": "b"}), "headers")


def test_a_stored_header_value_does_not_follow_a_url_to_another_host(tenant: Tenant) -> None:
    made = tenant.created(HOOKS, hook(url="https://example.com/hook", headers={"Authorization": "Bearer of-mine"}))
    path, kept = f"{HOOKS}/{made['webhook_id']}", {"Authorization": "redacted"}
    for url in ("https://other.example/hook", "http://example.com/hook", "https://example.com:8443/hook"):
        answer = tenant.call("PUT", path, hook(url=url, headers=kept))
        assert answer.status_code == 422
        assert "another host" in answer.get_json()["error"]["message"]
    for url in ("https://EXAMPLE.com:443/v2?x=1", "https://example.com"):
        assert tenant.call("PUT", path, hook(url=url, headers=kept)).status_code == 200
    given = hook(url="https://other.example/hook", headers={"Authorization": "Bearer new"})
    assert tenant.call("PUT", path, given).status_code == 200


def test_deliveries_of_a_removed_webhook_are_read_and_not_replayed(tenant: Tenant) -> None:
    services, path = tenant.services, f"{HOOKS}/{tenant.created(HOOKS, WEBHOOK)['webhook_id']}"
    event = Event(
        random_id(Prefix.EVENT), EventType.RESOURCE_EXECUTED, now(), tenant.scope.namespace_id,
        Subject("retriever", "ret_1"), {},
    )  # fmt: skip
    relay_events(services.handles, tenant.scope, [event], services.redis, services.clock)
    [delivery] = tenant.get(f"{path}/deliveries").get_json()["results"]
    services.database["deliveries"].update_one({"_id": delivery["delivery_id"]}, {"$set": {"status": "failed"}})
    assert tenant.call("DELETE", path).status_code == 204
    [kept] = tenant.get(f"{path}/deliveries?status=failed").get_json()["results"]
    assert kept["delivery_id"] == delivery["delivery_id"]
    shown = tenant.get(f"{path}/deliveries/{kept['delivery_id']}")
    assert (shown.status_code, shown.get_json()["attempt_history"]) == (200, [])
    answer = tenant.post(f"{path}/deliveries/{kept['delivery_id']}/replay")
    assert (answer.status_code, answer.get_json()["error"]["details"]["cause"]) == (409, "endpoint_gone")
    assert "its webhook was removed" in answer.get_json()["error"]["message"]
    assert tenant.get(f"{HOOKS}/wh_0123456789abcdef/deliveries").status_code == 404


def test_the_sweeper_seals_what_an_earlier_version_stored_in_clear_although_it_is_interrupted(
    new_tenant: Callable[..., Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = [new_tenant() for _ in range(3)]
    services = tenants[0].services
    ids = [tenant.created(HOOKS, WEBHOOK)["webhook_id"] for tenant in tenants]
    hooks, mine = services.database["webhooks"], {"_id": {"$in": ids}}
    gone = {"sealed_headers": "", "header_names": ""}
    hooks.update_many(mine, {"$set": {"headers": {"X-A": "in the clear"}}, "$unset": gone})
    monkeypatch.setattr("workers.sweeper._SEALED_A_ROUND", 1)
    sweeper, seal, calls = Sweeper(services), services.webhooks.seal_clear_headers, list[OrganizationScope]()

    def interrupted(scope: OrganizationScope) -> int:
        calls.append(scope)
        if len(calls) == 2:
            raise UnavailableError
        return seal(scope)

    monkeypatch.setattr(services.webhooks, "seal_clear_headers", interrupted)
    for _ in range(2 * len(services.organizations.list()) + 3):
        with suppress(UnavailableError):
            sweeper.sweep()
    rounds = len(calls)
    assert "in the clear" not in repr(list(hooks.find(mine)))
    assert all(row["header_names"] == ["X-A"] for row in hooks.find(mine))
    sweeper.sweep()
    # once after its start
    assert len(calls) == rounds
    sweeper.leave()
