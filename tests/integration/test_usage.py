"""Usage for billing: every route adds up the captures of the ledger, and nothing of anybody else's."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.operators.credits import whole_ledger
from core.clock import DatabaseClock
from core.credits.ledger import Ledger
from core.credits.prices import execution_price, ingestion_price
from core.credits.reconcile import reconcile
from core.credits.totals import UNATTRIBUTED, month_of
from core.ids import Prefix, random_id
from core.jobs.job import Decision, JobKind, JobState, NewJob
from core.storage.scope import NamespaceScope
from core.tenancy.permissions import Permission, ResourceType, Scope
from core.tenancy.tenant import Environment
from tests.integration.conftest import Tenant
from tests.tenants import new_key
from workers.drive_job import JobDriver
from workers.watch import LeaseWatch, Watched

SUMMARY = "/v1/analytics/usage/summary"
USAGE = "/v1/organizations/usage"
BILLING = "/v1/organizations/billing"
BATCH = {"batch_id": "btch_1", "collection_ids": ["col_1", "col_2"], "bucket_id": "bkt_1"}
RETRIEVER = {"retriever_id": "ret_1", "execution_id": "exec_1", "collection_ids": ["col_1"]}


class Charging:
    """An executor whose job costs `amount`."""

    def __init__(self, amount: int) -> None:
        self._amount = amount

    def run(self, watched: Watched) -> Decision:
        """Succeed, for that."""
        return Decision(JobState.SUCCEEDED, charge=self._amount)


def work(tenant: Tenant, scope: NamespaceScope, kind: JobKind, spec: Mapping[str, Any], amount: int) -> str:
    """A job that a worker drives to its end; its id."""
    services, job_id = tenant.services, random_id(Prefix.TASK)
    services.submission.submit(scope, NewJob(job_id, kind, spec, amount + 500, "req_1"))
    executor = Charging(amount)
    assert JobDriver(services, LeaseWatch(services.settings.job_lease_seconds), {kind: executor}).drive(job_id)
    return job_id


class Stopped(DatabaseClock):
    """A clock that stands."""

    def __init__(self, moment: datetime) -> None:
        super().__init__(lambda: moment)
        self._moment = moment

    def now(self) -> datetime:
        """Always the same."""
        return self._moment


def charge_at(tenant: Tenant, moment: datetime, amount: int, usage: Mapping[str, Any] | None = None) -> None:
    """A capture of another time."""
    ledger = Ledger(tenant.services.handles, Stopped(moment))
    ledger.capture(tenant.scope, ledger.hold(tenant.scope, random_id(Prefix.TASK), amount), amount, usage)


def milli(whole: int, pending: float) -> int:
    """What the wire says, in milli-credits."""
    assert isinstance(whole, int)
    assert 0 <= pending < 1
    return whole * 1000 + round(pending * 1000)


def added(answer: dict[str, Any], name: str) -> int:
    """The milli-credits of a mapping and of its `pending_` sibling."""
    whole: dict[str, int] = answer[name]
    pending: dict[str, float] = answer[f"pending_{name}"]
    return sum(whole.values()) * 1000 + round(sum(pending.values()) * 1000)


def called_with(tenant: Tenant, *scopes: Scope, **grant: Any) -> Tenant:
    """The same organization, called with a key of these scopes."""
    text = new_key(tenant.services, tenant.scope, Permission.READ, scopes=scopes, **grant).text
    headers = {**tenant.headers, "Authorization": f"Bearer {text}"}
    return Tenant(tenant.client, tenant.services, tenant.scope, tenant.organization_id, text, headers)


@pytest.fixture
def used(tenant: Tenant) -> tuple[Tenant, NamespaceScope]:
    """A tenant whose two namespaces have used something, and the second of them."""
    second = tenant.services.namespaces.create(tenant.scope, "second", environment=Environment.DEV).scope
    work(tenant, tenant.scope, JobKind.INGESTION, BATCH, 3_000)
    for _ in range(7):
        work(tenant, tenant.scope, JobKind.RETRIEVER, RETRIEVER, 110)
    work(tenant, second, JobKind.RETRIEVER, {**RETRIEVER, "retriever_id": "ret_2"}, 10)
    charge_at(tenant, tenant.services.clock.now(), 205)
    return tenant, second


def test_a_worker_says_in_the_ledger_what_a_charge_is_for(tenant: Tenant) -> None:
    ids = [
        work(tenant, tenant.scope, JobKind.INGESTION, BATCH, 2_000),
        work(tenant, tenant.scope, JobKind.RETRIEVER, RETRIEVER, 100),
        work(tenant, tenant.scope, JobKind.RETRIEVER, RETRIEVER, 0),
    ]
    hold_and_end = [tenant.services.ledger.entries_of(tenant.scope, job_id) for job_id in ids]
    namespace = tenant.scope.namespace_id
    assert [hold.usage for hold, _ in hold_and_end] == [None] * 3
    assert [end.usage for _, end in hold_and_end] == [
        {"operation": "ingestion", "namespace_id": namespace, "batch_id": "btch_1",
         "collection_ids": ["col_1", "col_2"]},
        {"operation": "retriever", "namespace_id": namespace, "retriever_id": "ret_1"},
        None,
    ]  # fmt: skip
    assert reconcile(whole_ledger(tenant.services.ledger, tenant.scope)).problems == ()


def test_the_totals_of_every_route_are_the_captures_of_the_ledger(used: tuple[Tenant, NamespaceScope]) -> None:
    tenant, second = used
    found = reconcile(whole_ledger(tenant.services.ledger, tenant.scope))
    assert (found.captured, found.problems) == (3_985, ())

    summaries = [tenant.get(SUMMARY, X_Namespace=name).get_json() for name in ("default", second.namespace_id)]
    of_namespaces = [milli(one["total_credits"], one["pending_credits"]) for one in summaries]
    assert sum(of_namespaces) == found.captured - 205
    for summary, total in zip(summaries, of_namespaces, strict=True):
        assert sum(milli(row["credits"], row["pending_credits"]) for row in summary["usage"]) == total
        assert sum(row["cost_usd"] for row in summary["usage"]) == pytest.approx(total / 1e6)
        assert summary["total_cost"] == total / 1e6

    usage = tenant.get(USAGE).get_json()
    credits = usage["credits"]
    assert milli(credits["used"], credits["pending_used"]) == added(usage, "breakdown") == found.captured
    assert milli(credits["remaining"], credits["pending_remaining"]) == found.posted
    assert milli(credits["total"], credits["pending_total"]) == found.granted

    current = tenant.get(f"{BILLING}/usage/current").get_json()
    assert milli(current["current_month_usage"], current["pending_month_usage"]) == found.captured
    assert current["estimated_cost_usd"] == found.captured / 1e6

    breakdown = tenant.get(f"{BILLING}/usage/breakdown").get_json()
    assert milli(breakdown["total_credits"], breakdown["pending_credits"]) == found.captured
    assert added(breakdown, "by_operation") == found.captured
    assert added(breakdown, "by_namespace") == found.captured - 205
    assert breakdown["total_cost_usd"] == found.captured / 1e6

    page = tenant.get(f"{BILLING}/transactions?limit=200").get_json()
    charges = page["transactions"]
    assert page["total"] == len(charges) == 10
    assert sum(milli(one["credits_consumed"], one["pending_credits"]) for one in charges) == found.captured


def test_whole_credits_stand_in_integers_and_the_rest_is_pending(used: tuple[Tenant, NamespaceScope]) -> None:
    tenant, second = used
    breakdown = tenant.get(f"{BILLING}/usage/breakdown?billing_month={_this_month(tenant)}").get_json()
    assert breakdown["by_operation"] == {"ingestion": 3, "retriever": 0, UNATTRIBUTED: 0}
    assert breakdown["pending_by_operation"] == {"retriever": 0.78, UNATTRIBUTED: 0.205}
    assert breakdown["by_namespace"] == {tenant.scope.namespace_id: 3, second.namespace_id: 0}
    assert breakdown["pending_by_namespace"] == {tenant.scope.namespace_id: 0.77, second.namespace_id: 0.01}
    assert (breakdown["by_retriever"], breakdown["by_extractor"]) == ({"ret_1": 0, "ret_2": 0}, {})
    assert breakdown["pending_by_retriever"] == {"ret_1": 0.77, "ret_2": 0.01}


def test_a_summary_is_of_its_namespace_alone(used: tuple[Tenant, NamespaceScope], new_tenant: Any) -> None:
    tenant, second = used
    answer = tenant.get(SUMMARY, X_Namespace="second").get_json()
    row = {"operation_type": "retriever", "credits": 0, "pending_credits": 0.01, "cost_usd": 0.00001}
    assert (answer["usage"], answer["namespace_id"]) == ([row], second.namespace_id)
    stranger = new_tenant()
    assert stranger.get(SUMMARY).get_json()["usage"] == []
    assert stranger.get(f"{BILLING}/transactions").get_json()["transactions"] == []
    assert stranger.get(f"{BILLING}/usage/breakdown").get_json()["total_credits"] == 0
    assert stranger.get(USAGE).get_json()["breakdown"] == {}


def test_transactions_have_the_published_fields_and_page_newest_first(tenant: Tenant) -> None:
    now = tenant.services.clock.now()
    for days in (200, 3, 40, 20, 3, 400):
        charge_at(tenant, now - timedelta(days=days), 1_000 + days)
    job_id = work(tenant, tenant.scope, JobKind.INGESTION, BATCH, 2_500)
    seen: list[dict[str, Any]] = []
    more = True
    while more:
        page = tenant.get(f"{BILLING}/transactions?limit=2&offset={len(seen)}").get_json()
        assert (page["total"], page["limit"], page["offset"]) == (6, 2, len(seen))
        seen, more = seen + page["transactions"], page["has_more"]
    # what is older than a year is asked for by its month
    assert [round(one["cost_usd"] * 1e6) for one in seen] == [2_500, 1_003, 1_003, 1_020, 1_040, 1_200]
    assert [one["occurred_at"] for one in seen] == sorted((one["occurred_at"] for one in seen), reverse=True)
    assert seen[0] == {
        "record_id": f"cap:{job_id}", "occurred_at": seen[0]["occurred_at"], "billing_month": _this_month(tenant),
        "credits_consumed": 2, "pending_credits": 0.5, "cost_usd": 0.0025, "operation_type": "ingestion",
        "extractor_name": None, "resource_id": "btch_1", "resource_type": "batch",
        "namespace_id": tenant.scope.namespace_id,
        "metadata": {"task_id": job_id, "collection_ids": ["col_1", "col_2"]},
    }  # fmt: skip
    old = tenant.get(f"{BILLING}/transactions?billing_month={month_of(now - timedelta(days=400))}").get_json()
    (charge,) = old["transactions"]
    assert (charge["cost_usd"], charge["operation_type"], charge["resource_id"]) == (0.0014, UNATTRIBUTED, None)
    assert tenant.get(f"{BILLING}/transactions?offset=6").get_json()["transactions"] == []


def test_a_period_has_its_start_and_not_its_end(tenant: Tenant) -> None:
    usage = {"operation": "retriever", "namespace_id": tenant.scope.namespace_id, "retriever_id": "ret_1"}
    first = datetime(2023, 2, 1, tzinfo=UTC)
    for moment, amount in (
        (first - timedelta(milliseconds=1), 1_000),
        (first, 2_000),
        (first + timedelta(days=7), 4_000),
        (first + timedelta(days=28, milliseconds=-1), 8_000),
        (first + timedelta(days=28), 16_000),
    ):
        charge_at(tenant, moment, amount, usage)

    def total(query: str) -> Any:
        return tenant.get(f"{SUMMARY}?{query}").get_json()["total_credits"]

    assert total("start_date=2023-02-01T00:00:00Z&end_date=2023-03-01T00:00:00Z") == 14
    assert total("start_date=2023-01-31&end_date=2023-03-02") == 31
    assert total("end_date=2023-03-01T00:00:00Z") == 15
    usage_of_february = tenant.get(f"{USAGE}?start=2023-02-01&end=2023-03-01").get_json()
    assert usage_of_february["breakdown"] == {"retriever": 14}
    for month, expected in (("2023-01", 1), ("2023-02", 14), ("2023-03", 16), ("2023-04", 0)):
        answer = tenant.get(f"{BILLING}/usage/breakdown?billing_month={month}").get_json()
        assert (answer["billing_month"], answer["total_credits"]) == (month, expected)
    assert (answer["period_start"], answer["period_end"]) == (
        "2023-04-01T00:00:00.000000Z",
        "2023-05-01T00:00:00.000000Z",
    )


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        (f"{SUMMARY}?start_date=2022-01-01&end_date=2023-01-03", "start_date"),
        (f"{SUMMARY}?start_date=2022-01-02&end_date=2022-01-02", "start_date"),
        (f"{SUMMARY}?start_date=2999-01-01", "start_date"),
        (f"{SUMMARY}?start_date=2020-01-01", "start_date"),
        (f"{SUMMARY}?end_date=0001-01-01T00:00:00Z", "end_date"),
        (f"{SUMMARY}?end_date=yesterday", "end_date"),
        (f"{USAGE}?start=2022-01-01&end=2023-01-03", "start"),
        (f"{USAGE}?end=1999-12-31", "end"),
        (f"{BILLING}/usage/breakdown?billing_month=2023-13", "billing_month"),
        (f"{BILLING}/transactions?billing_month=2023-1", "billing_month"),
        (f"{BILLING}/transactions?limit=1001", "limit"),
        (f"{BILLING}/transactions?limit=0", "limit"),
        (f"{BILLING}/transactions?offset=-1", "offset"),
    ],
)
def test_a_bad_parameter_is_named(tenant: Tenant, path: str, parameter: str) -> None:
    answer = tenant.get(path)
    assert answer.status_code == 422
    assert answer.get_json()["error"]["details"]["validation_errors"][0]["location"] == [parameter]


def test_a_period_of_366_days_is_the_longest(tenant: Tenant) -> None:
    assert tenant.get(f"{SUMMARY}?start_date=2022-01-01&end_date=2023-01-02").status_code == 200


def test_a_scoped_key_reads_the_summary_of_its_namespace_and_nothing_of_the_organization(
    used: tuple[Tenant, NamespaceScope],
) -> None:
    tenant, second = used
    for scope in (second.namespace_id, "second"):
        key = called_with(tenant, Scope(ResourceType.NAMESPACE, scope))
        assert key.get(SUMMARY, X_Namespace="second").get_json()["pending_credits"] == 0.01
        assert key.get(SUMMARY).status_code == 403
        paths = (USAGE, f"{BILLING}/transactions", f"{BILLING}/usage/current", f"{BILLING}/usage/breakdown")
        assert {key.get(path, X_Namespace="second").status_code for path in paths} == {403}
    assert called_with(tenant, Scope(ResourceType.RETRIEVER, "*")).get(SUMMARY).status_code == 403


def test_a_bound_key_reads_the_charges_of_one_namespace_of_its_environment(
    used: tuple[Tenant, NamespaceScope],
) -> None:
    tenant, second = used
    dev = called_with(tenant, environment=Environment.DEV)
    plain = {"Authorization": dev.headers["Authorization"]}
    for path in (USAGE, f"{BILLING}/transactions", f"{BILLING}/usage/current", f"{BILLING}/usage/breakdown"):
        assert dev.client.get(path, headers=plain).status_code == 400
        assert dev.get(path).status_code == 403
        assert tenant.scope.namespace_id not in dev.get(path, X_Namespace="second").get_data(as_text=True)
    breakdown = dev.get(f"{BILLING}/usage/breakdown", X_Namespace="second").get_json()
    assert (breakdown["pending_credits"], breakdown["by_namespace"]) == (0.01, {second.namespace_id: 0})
    assert dev.get(f"{BILLING}/transactions", X_Namespace="second").get_json()["total"] == 1
    assert dev.get(f"{BILLING}/usage/current", X_Namespace="second").get_json()["pending_month_usage"] == 0.01
    assert dev.get(USAGE, X_Namespace="second").get_json()["pending_breakdown"] == {"retriever": 0.01}


def test_the_rate_card_needs_no_key_and_is_what_is_charged(new_tenant: Callable[..., Tenant]) -> None:
    card = new_tenant().client.get("/v1/billing/pricing").get_json()
    rates = {rate["unit"]: rate["credits"] for rate in card["rates"]}
    assert rates["object through one extractor"] * 1000 == ingestion_price(1)
    assert rates["feature_search stage run"] * 1000 == execution_price(["feature_search"])
    assert rates["execution, at least"] * 1000 == execution_price([])
    assert card["credit_rate_usd"] == 0.001
    assert all(rate["cost_usd"] == pytest.approx(rate["credits"] * 0.001) for rate in card["rates"])


def _this_month(tenant: Tenant) -> str:
    return month_of(tenant.services.clock.now())
