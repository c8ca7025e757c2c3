"""An awaited job that waits for a backend is taken back whole, once, or not at all; whoever crashes is stood in for."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from core.backends.backend import Backend
from core.credits.entry import EntryKind
from core.ids import Prefix, random_id
from core.jobs.job import Job, JobKind, JobState, NewJob
from tests.claiming import claimed
from tests.integration.conftest import Tenant
from tests.lost_answers import lost_answer
from workers.drive_job import JobDriver
from workers.watch import LeaseWatch

HOLD = 700
FIND = {
    "stage_name": "find",
    "stage_type": "filter",
    "stage_id": "attribute_filter",
    "parameters": {"field": "a", "operator": "eq", "value": 1},
}


def submitted(tenant: Tenant, job_id: str | None = None, *, awaited: bool = True) -> Job:
    spec = {"retriever_id": "ret_1", "execution_id": "exec_1"}
    new = NewJob(job_id or random_id(Prefix.TASK), JobKind.RETRIEVER, spec, HOLD, "req_1", awaited=awaited)
    return tenant.services.submission.submit(tenant.scope, new)


def stuck(tenant: Tenant, job: Job, delay: timedelta = timedelta(minutes=1)) -> Job:
    """The job after a worker found a backend away."""
    lease = claimed(tenant.services.queue, job.job_id, random_id(Prefix.REQUEST))
    assert lease
    lease.wait_for(Backend.VECTORS, delay)
    return tenant.services.jobs.get(tenant.scope, job.job_id)


def held(tenant: Tenant) -> int:
    return tenant.services.ledger.balance(tenant.scope).held


def driver(tenant: Tenant) -> JobDriver:
    return JobDriver(tenant.services, LeaseWatch(20), {})


@pytest.mark.parametrize("landed", [None, False, True])
def test_it_leaves_no_hold_no_record_and_no_event(tenant: Tenant, landed: bool | None) -> None:
    job = stuck(tenant, submitted(tenant))
    assert (job.is_stuck, held(tenant)) == (True, HOLD)
    if landed is None:
        assert tenant.services.submission.withdraw(job)
    else:
        with lost_answer("jobs", "update_one", landed=landed):
            assert tenant.services.submission.withdraw(job)
    assert tenant.services.jobs.find(tenant.scope, job.job_id) is None
    assert held(tenant) == 0
    kinds = [entry.kind for entry in tenant.services.ledger.entries_of(tenant.scope, job.hold_id)]
    assert kinds == [EntryKind.HOLD, EntryKind.RELEASE]
    assert not driver(tenant).drive(job.job_id)
    assert tenant.services.handles.namespace(tenant.scope)["events"].count({}) == 0


def test_the_same_job_can_be_submitted_again(tenant: Tenant) -> None:
    job = stuck(tenant, submitted(tenant))
    tenant.services.submission.withdraw(job)
    again = submitted(tenant, job.job_id)
    assert (again.state, held(tenant)) == (JobState.QUEUED, HOLD)
    assert again.hold_id != job.hold_id


def test_a_claim_that_is_quicker_goes_on_with_the_job(tenant: Tenant) -> None:
    job = stuck(tenant, submitted(tenant), timedelta())
    lease = claimed(tenant.services.queue, job.job_id, "worker")
    assert lease
    assert not tenant.services.submission.withdraw(job)
    assert (tenant.services.jobs.get(tenant.scope, job.job_id).state, held(tenant)) == (JobState.RUNNING, HOLD)
    # handed back once more, what was known of it before is not enough to take it back
    lease.wait_for(Backend.VECTORS, timedelta(minutes=1))
    assert not tenant.services.submission.withdraw(job)


def test_a_withdrawal_that_is_quicker_leaves_nothing_to_claim(tenant: Tenant) -> None:
    job = stuck(tenant, submitted(tenant), timedelta())
    assert tenant.services.jobs.withdraw(tenant.scope, job)
    assert tenant.services.queue.claim(job.job_id, "worker") is None


@pytest.mark.parametrize("why", ["nobody waits for it", "it waits for nothing", "it was cancelled"])
def test_another_job_is_not_taken_back(tenant: Tenant, why: str) -> None:
    job = submitted(tenant, awaited=why != "nobody waits for it")
    if why != "it waits for nothing":
        job = stuck(tenant, job)
    if why == "it was cancelled":
        tenant.services.jobs.request_cancel(tenant.scope, job.job_id)
    assert not tenant.services.submission.withdraw(job)
    assert held(tenant) == HOLD
    assert tenant.services.jobs.find(tenant.scope, job.job_id)


@pytest.mark.parametrize("released", [False, True])
def test_a_worker_completes_what_a_crash_cut_short(tenant: Tenant, released: bool) -> None:
    services = tenant.services
    job = stuck(tenant, submitted(tenant))
    assert services.jobs.withdraw(tenant.scope, job)
    if released:
        [hold] = services.ledger.entries_of(tenant.scope, job.hold_id)
        services.ledger.release(tenant.scope, hold)
    # the API process dies here; some seconds later the job is due
    jobs = services.handles.namespace(tenant.scope)["jobs"]
    jobs.update_one({"_id": job.job_id}, {"$set": {"due_at": services.clock.now()}})
    assert driver(tenant).drive(job.job_id)
    assert services.jobs.find(tenant.scope, job.job_id) is None
    assert held(tenant) == 0
    assert len(services.ledger.entries_of(tenant.scope, job.hold_id)) == 2
    assert services.handles.namespace(tenant.scope)["events"].count({}) == 0


def test_nobody_takes_back_a_job_of_another_namespace(tenant: Tenant, new_tenant: Callable[..., Tenant]) -> None:
    job, other = stuck(tenant, submitted(tenant)), new_tenant()
    jobs = tenant.services.jobs
    assert not jobs.withdraw(other.scope, job)
    assert jobs.withdraw(tenant.scope, job)
    jobs.remove_withdrawn(other.scope, job.job_id)
    assert jobs.find(tenant.scope, job.job_id)


def test_a_job_that_is_to_go_on_is_not_taken_back_however_long_it_is_stuck(tenant: Tenant) -> None:
    """Another request with the same key asked for it asynchronously: the one that waits is told where it is."""
    retriever = tenant.created("/v1/retrievers", {"retriever_name": "r", "stages": [FIND]})["retriever"]
    path, key = f"/v1/retrievers/{retriever['retriever_id']}/execute", random_id(Prefix.OPERATION)
    with lost_answer("idempotency", "update_one", landed=False):
        tenant.post(path, {"inputs": {}}, Idempotency_Key=key, Prefer="respond-async")
    [job] = tenant.services.jobs.list(tenant.scope)
    stuck(tenant, job)
    records = tenant.services.handles.organization(tenant.scope)["idempotency"]
    records.update_many({}, {"$set": {"lease_until": tenant.services.clock.now()}})
    answer = tenant.post(path, {"inputs": {}}, Idempotency_Key=key)
    assert (answer.status_code, answer.get_json()["task_id"]) == (202, job.job_id), answer.get_data(as_text=True)
    assert held(tenant) == job.hold
