"""A job killed between any two of claim, run, decide, settle, finish, announce ends once, charged once, told once."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.settings import Settings
from core.bootstrap import Services, build_services
from core.clock import DatabaseClock
from core.credits.entry import Balance
from core.credits.ledger import Ledger
from core.errors import StageError, UnavailableError
from core.ids import Prefix, random_id, webhook_id
from core.jobs.job import Decision, Job, JobKind, JobState, NewJob
from core.jobs.lane import Lane
from core.jobs.lease import Lease
from core.storage.scope import NamespaceScope
from core.webhooks import relay
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import Event, EventType
from pipelines.runner import CallCancelledError
from tests.lost_answers import lost_answer
from tests.servers import own_database
from workers.drive_job import JobDriver
from workers.sweeper import Sweeper
from workers.watch import LeaseWatch, Watched

KEY = SecretStr(f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}")
HOLD = 1_000
CHARGE = 400


class Killed(BaseException):
    """What SIGKILL is to the code that runs: it ends there, and nothing after it happens."""


class Work:
    """An executor whose whole pipeline is one callable."""

    def __init__(self, work: Callable[[Watched], Decision]) -> None:
        self.runs = 0
        self._work = work

    def run(self, watched: Watched) -> Decision:
        self.runs += 1
        return self._work(watched)


def succeed(watched: Watched) -> Decision:
    return Decision(JobState.SUCCEEDED, charge=CHARGE, result={"document_count": 1})


@pytest.fixture
def services(mongo_url: str, redis_url: str, tmp_path: Path) -> Iterator[Services]:
    settings = Settings(
        data=tmp_path,
        mongo_url=own_database(mongo_url),
        redis_url=redis_url,
        vault_keys=(KEY,),
        key_peppers=(KEY,),
        # a lease that has ended when it is given: a killed worker's job can be claimed at once
        job_lease_seconds=1,
        job_max_attempts=3,
    )
    services = build_services(settings)
    yield services
    services.close()


@pytest.fixture
def submitted(services: Services, scope: NamespaceScope) -> Job:
    services.ledger.grant(scope, "grant", 10 * HOLD)
    settings = EndpointSettings("hook", "http://127.0.0.1:9/", tuple(EventType))
    services.webhooks.create(scope, webhook_id(), settings, None)
    spec = {"retriever_id": "ret_1", "execution_id": "exec_1"}
    new = NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, spec, HOLD, "req_1")
    return services.submission.submit(scope, new)


def driver(services: Services, work: Work) -> JobDriver:
    return JobDriver(services, LeaseWatch(services.settings.job_lease_seconds), {JobKind.RETRIEVER: work})


def drive_watched(services: Services, job: Job, work: Work) -> None:
    """With the heartbeats that tell the work to stop."""
    watch = LeaseWatch(services.settings.job_lease_seconds)
    watch.start()
    JobDriver(services, watch, {JobKind.RETRIEVER: work}).drive(job.job_id)
    watch.shut_down()


def in_haste(services: Services) -> Services:
    """An installation that gives executions next to no time."""
    return replace(services, settings=services.settings.model_copy(update={"execution_seconds": 0.1}))


def end_lease(services: Services, job: Job) -> None:
    services.handles.namespace(job.scope)["jobs"].update_one(
        {"_id": job.job_id, "due_at": {"$gt": services.clock.now()}}, [{"$set": {"due_at": "$$NOW"}}]
    )


def drive_to_the_end(services: Services, job: Job, work: Work) -> Job:
    for _ in range(10):
        end_lease(services, job)
        if not driver(services, work).drive(job.job_id):
            break
    return services.jobs.get(job.scope, job.job_id)


def deliveries(services: Services, job: Job) -> list[Any]:
    (endpoint,) = services.webhooks.list_endpoints(job.scope)
    return services.webhooks.list_deliveries(job.scope, endpoint.webhook_id)


def assert_ended_once(services: Services, job: Job, state: JobState, charge: int) -> None:
    ended = services.jobs.get(job.scope, job.job_id)
    closing = [entry for entry in services.ledger.entries_of(job.scope, job.job_id) if entry.closes_hold]
    assert (ended.state, ended.due_at, ended.events) == (state, None, ())
    assert len(closing) == 1
    assert services.ledger.balance(job.scope) == Balance(posted=10 * HOLD - charge, held=0)
    assert len(deliveries(services, job)) == 1


# Each place is where SIGKILL strikes: before a step's write, or after it and before the next step.
PLACES = [
    ("core.jobs.lease.Lease", "decide"),
    ("core.credits.ledger.Ledger", "capture"),
    ("core.jobs.lease.Lease", "finish"),
    ("workers.drive_job", "relay_events"),
    ("core.jobs.lease.Lease", "announced"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "step"), PLACES, ids=[step for _, step in PLACES])
def test_killed_at_a_step_the_job_ends_once(
    services: Services, submitted: Job, monkeypatch: pytest.MonkeyPatch, owner: str, step: str, after: bool
) -> None:
    module, _, name = owner.rpartition(".")
    target = owner if name.islower() else f"{module}.{name}"
    with monkeypatch.context() as patch:
        original = resolve(target, step)

        def killed(*arguments: Any, **options: Any) -> None:
            if after:
                original(*arguments, **options)
            raise Killed

        patch.setattr(f"{target}.{step}", killed)
        with pytest.raises(Killed):
            driver(services, Work(succeed)).drive(submitted.job_id)
    work = Work(succeed)
    drive_to_the_end(services, submitted, work)
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)
    assert work.runs == (1 if step == "decide" and not after else 0), "a decided job runs no stage again"


@pytest.mark.parametrize("landed", [False, True])
def test_a_connection_that_breaks_at_the_decision_costs_no_second_run(
    services: Services, submitted: Job, landed: bool
) -> None:
    with ExitStack() as breaking:

        def done_and_then_broken(watched: Watched) -> Decision:
            breaking.enter_context(lost_answer("jobs", "update_one", landed=landed))
            return succeed(watched)

        work = Work(done_and_then_broken)
        driver(services, work).drive(submitted.job_id)
    drive_to_the_end(services, submitted, work)
    assert work.runs == 1
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_killed_while_running_the_job_is_run_again_and_charged_once(services: Services, submitted: Job) -> None:
    def die(watched: Watched) -> Decision:
        raise Killed

    with pytest.raises(Killed):
        driver(services, Work(die)).drive(submitted.job_id)
    drive_to_the_end(services, submitted, Work(succeed))
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_a_job_whose_worker_dies_each_time_fails_and_gives_its_hold_back(services: Services, submitted: Job) -> None:
    def die(watched: Watched) -> Decision:
        raise Killed

    for _ in range(services.settings.job_max_attempts):
        end_lease(services, submitted)
        with pytest.raises(Killed):
            driver(services, Work(die)).drive(submitted.job_id)
    ended = drive_to_the_end(services, submitted, Work(die))
    assert ended.decision is not None
    assert ended.decision.error is not None
    assert ended.decision.error.code == "attempts_exhausted"
    assert_ended_once(services, submitted, JobState.FAILED, charge=0)


def test_a_stage_error_fails_the_job_with_its_code_and_gives_the_hold_back(services: Services, submitted: Job) -> None:
    def refuse(watched: Watched) -> Decision:
        raise StageError("this cannot be done")

    ended = drive_to_the_end(services, submitted, Work(refuse))
    assert ended.decision is not None
    assert ended.decision.error is not None
    assert (ended.decision.error.code, ended.decision.error.message) == ("stage_failed", "this cannot be done")
    assert_ended_once(services, submitted, JobState.FAILED, charge=0)


def test_an_unavailable_backend_hands_the_job_back_for_later(services: Services, submitted: Job) -> None:
    def away(watched: Watched) -> Decision:
        raise UnavailableError

    driver(services, Work(away)).drive(submitted.job_id)
    job = services.jobs.get(submitted.scope, submitted.job_id)
    assert job.state is JobState.QUEUED
    assert job.due_at is not None
    assert job.due_at > services.clock.now()


def test_a_cancel_during_the_run_ends_the_job_cancelled_and_uncharged(services: Services, submitted: Job) -> None:
    def wait_for_stop(watched: Watched) -> Decision:
        services.jobs.request_cancel(submitted.scope, submitted.job_id)
        assert watched.stop.wait(10), "the heartbeat brings the cancel"
        raise CallCancelledError

    drive_watched(services, submitted, Work(wait_for_stop))
    assert_ended_once(services, submitted, JobState.CANCELLED, charge=0)


def test_an_execution_that_runs_for_too_long_fails_and_pays_for_the_models_it_asked(
    services: Services, submitted: Job
) -> None:
    def go_on_until_stopped(watched: Watched) -> Decision:
        assert watched.stop.wait(10), "the heartbeat brings the end of its time"
        stopped = CallCancelledError()
        stopped.spent = CHARGE
        raise stopped

    drive_watched(in_haste(services), submitted, Work(go_on_until_stopped))
    assert_ended_once(services, submitted, JobState.FAILED, CHARGE)
    decision = services.jobs.get(submitted.scope, submitted.job_id).decision
    assert decision
    assert decision.error
    assert decision.error.code == "timed_out"


@pytest.mark.parametrize("why", ["cancelled", "out of time"])
def test_what_is_done_in_full_counts_although_it_was_to_stop(services: Services, submitted: Job, why: str) -> None:
    def end_when_told_to_stop(watched: Watched) -> Decision:
        if why == "cancelled":
            services.jobs.request_cancel(submitted.scope, submitted.job_id)
        assert watched.stop.wait(10)
        return succeed(watched)

    drive_watched(services if why == "cancelled" else in_haste(services), submitted, Work(end_when_told_to_stop))
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_jobs_of_an_organization_that_is_deleted_end_cancelled_and_uncharged(
    services: Services, submitted: Job
) -> None:
    def be_deleted(watched: Watched) -> Decision:
        services.removal.remove(submitted.scope)
        assert watched.stop.wait(10), "the heartbeat brings the cancel"
        raise CallCancelledError

    new = NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, submitted.spec, HOLD, "req_1")
    waiting = services.submission.submit(submitted.scope, new)
    drive_watched(services, submitted, Work(be_deleted))
    never = Work(succeed)
    driver(services, never).drive(waiting.job_id)
    ended = services.jobs.find_many(submitted.scope, [submitted.job_id, waiting.job_id]).values()
    assert [job.state for job in ended] == [JobState.CANCELLED] * 2
    assert never.runs == 0
    assert services.ledger.balance(submitted.scope) == Balance(posted=10 * HOLD, held=0)


def test_a_worker_that_lost_its_lease_writes_nothing_more(services: Services, submitted: Job) -> None:
    def be_overtaken(watched: Watched) -> Decision:
        end_lease(services, submitted)
        driver(services, Work(succeed)).drive(submitted.job_id)
        return Decision(JobState.FAILED)

    driver(services, Work(be_overtaken)).drive(submitted.job_id)
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_a_job_whose_hold_is_closed_is_refused(services: Services, submitted: Job) -> None:
    (hold,) = services.ledger.entries_of(submitted.scope, submitted.job_id)
    services.ledger.release(submitted.scope, hold)
    work = Work(succeed)
    ended = drive_to_the_end(services, submitted, work)
    assert ended.decision is not None
    assert ended.decision.error is not None
    assert (ended.decision.error.code, work.runs) == ("hold_closed", 0)
    assert_ended_once(services, submitted, JobState.FAILED, charge=0)


def test_an_event_occurred_when_the_database_says_so(
    services: Services, submitted: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, ahead = DatabaseClock.now, timedelta(minutes=10)
    monkeypatch.setattr(DatabaseClock, "now", lambda clock: read(clock) + ahead)
    told: list[Event] = []
    monkeypatch.setattr("workers.drive_job.relay_events", lambda *sent: told.extend(sent[2]))
    drive_to_the_end(services, submitted, Work(succeed))
    (event,) = told
    assert timedelta() < services.clock.now() - event.occurred_at < ahead


def make_overdue(services: Services, job: Job) -> None:
    services.handles.namespace(job.scope)["jobs"].update_one(
        {"_id": job.job_id}, [{"$set": {"due_at": {"$subtract": ["$$NOW", 5000]}}}]
    )


def test_the_sweeper_rings_for_a_job_nobody_was_told_of(services: Services, submitted: Job) -> None:
    services.redis.flushall()
    make_overdue(services, submitted)
    assert Sweeper(services).ring_for_due_jobs() == 1
    assert (services.doorbell.waiting(Lane.INTERACTIVE), services.doorbell.waiting()) == (1, 1)


def test_the_sweeper_does_not_ring_into_a_long_queue(services: Services, submitted: Job) -> None:
    services.redis.flushall()
    # of what its lane's jobs are due, one lane's queue says nothing about the other's
    make_overdue(services, submitted)
    for _ in range(2 * services.settings.batch_slots):
        services.doorbell.ring(Lane.BATCH, submitted.job_id, submitted.scope.namespace_id)
    assert Sweeper(services).ring_for_due_jobs() == 1
    for _ in range(2 * services.settings.interactive_slots - 1):
        services.doorbell.ring(Lane.INTERACTIVE, submitted.job_id, submitted.scope.namespace_id)
    assert Sweeper(services).ring_for_due_jobs() == 0


def test_the_sweeper_rings_at_most_twice_the_slots_of_the_lane(services: Services, submitted: Job) -> None:
    for number in range(2 * services.settings.batch_slots + 1):
        new = NewJob(f"task_{number}", JobKind.INGESTION, {}, 0, "req_1")
        make_overdue(services, services.submission.submit(submitted.scope, new))
    make_overdue(services, submitted)
    services.redis.flushall()
    assert Sweeper(services).ring_for_due_jobs() == 2 * services.settings.batch_slots + 1
    assert services.doorbell.waiting(Lane.BATCH) == 2 * services.settings.batch_slots
    assert services.doorbell.waiting(Lane.INTERACTIVE) == 1


def test_the_sweeper_releases_a_hold_whose_job_was_never_recorded(
    services: Services, submitted: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.ledger.hold(submitted.scope, "task_never_recorded", HOLD)
    monkeypatch.setattr("workers.sweeper._ORPHAN_AFTER", -services.queue._lease)
    assert Sweeper(services).release_orphan_holds() == 1
    assert services.ledger.balance(submitted.scope).held == HOLD, "the recorded job keeps its hold"


def resolve(target: str, step: str) -> Callable[..., Any]:
    owners = {"core.jobs.lease.Lease": Lease, "core.credits.ledger.Ledger": Ledger, "workers.drive_job": relay}
    function: Callable[..., Any] = getattr(owners[target], step)
    return function
