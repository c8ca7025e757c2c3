"""MongoDB away under a job that runs: the job goes on where it was, or is handed back uncounted, and ends once."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import PyMongoError
from structlog.testing import capture_logs

from core.backends.backend import Backend
from core.backends.watch import BackendWatch
from core.bootstrap import Services
from core.errors import BackendAwayError, UnavailableError
from core.jobs.job import Decision, Job, JobKind, JobState
from core.storage.mongo import within
from core.storage.scope import NamespaceScope
from tests.claiming import claimed
from tests.gate import Gate, Manner, gate_to
from tests.integration.test_drive_job import CHARGE, PLACES, Work, assert_ended_once, end_lease, succeed
from tests.integration.test_drive_job import resolve as resolved
from tests.integration.waiting import LEASE_SECONDS, Fault, drive_often, driver, events_of, services_on, stored, submit
from tests.lost_answers import lost_answer
from tests.stack import wait_until
from workers.drive_job import JobDriver
from workers.sweeper import Sweeper
from workers.watch import LeaseWatch, Watched


@pytest.fixture
def services(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Services]:
    with closing(services_on(database_url, redis_url, tmp_path)) as services:
        yield services


@pytest.fixture
def far(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Gate, Services]]:
    """The same installation as a worker sees it behind a gate before MongoDB."""
    # within one try the driver itself would wait for the end of a short absence
    monkeypatch.setattr("workers.patience.TRY_SECONDS", 0.3)
    with gate_to(database_url) as (gate, url):
        services = services_on(url, redis_url, tmp_path)
        yield gate, services
        gate.open()
        services.close()


@pytest.fixture
def submitted(services: Services, scope: NamespaceScope) -> Job:
    return submit(services, scope)


def open_soon(gate: Gate, seconds: float) -> None:
    timer = threading.Timer(seconds, gate.open)
    timer.daemon = True
    timer.start()


def drive_watched(services: Services, job: Job, work: Work) -> None:
    """With the heartbeats that keep the lease."""
    watch = LeaseWatch(LEASE_SECONDS)
    watch.start()
    JobDriver(services, watch, {JobKind.RETRIEVER: work}).drive(job.job_id)
    watch.shut_down()


@pytest.mark.parametrize("manner", [Manner.KILLED, Manner.FROZEN])
def test_a_job_that_outlives_the_absence_of_mongodb_goes_on_where_it_was(
    services: Services, submitted: Job, far: tuple[Gate, Services], manner: Manner
) -> None:
    gate, worker = far

    def work_on(watched: Watched) -> Decision:
        gate.shut(manner)
        told_to_stop = watched.stop.wait(4 * LEASE_SECONDS)
        open_soon(gate, 1)
        watched.patience.until_done(lambda: watched.lease.checkpoint(["a"], {"n": 1}))
        assert not told_to_stop, "time that goes by in silence is no lost lease"
        return succeed(watched)

    work = Work(work_on)
    drive_watched(worker, submitted, work)
    ended = stored(services, submitted)
    assert (work.runs, ended.attempts, ended.fence, sorted(ended.done)) == (1, 1, 1, ["a"])
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_a_job_that_cannot_go_on_without_mongodb_is_handed_back_uncounted(
    services: Services, submitted: Job, far: tuple[Gate, Services]
) -> None:
    gate, worker = far

    def read(watched: Watched) -> Decision:
        gate.shut(Manner.KILLED)
        open_soon(gate, 2 * LEASE_SECONDS)
        with within(0.5):
            worker.jobs.get(submitted.scope, submitted.job_id)
        raise AssertionError("MongoDB is away")

    with capture_logs() as logs:
        drive_watched(worker, submitted, Work(read))
    handed_back = stored(services, submitted)
    assert (handed_back.state, handed_back.attempts, handed_back.waiting_for) == (JobState.QUEUED, 0, Backend.MONGO)
    assert events_of(logs) == ["backend.away", "job.waits", "job.driven"]
    drive_often(services, submitted, Work(succeed), times=1)
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_a_claim_that_was_made_meanwhile_wins(services: Services, submitted: Job, far: tuple[Gate, Services]) -> None:
    gate, cut_off = far

    def be_overtaken(watched: Watched) -> Decision:
        gate.shut(Manner.KILLED)
        drive_often(services, submitted, Work(succeed), times=1)
        open_soon(gate, 1)
        return Decision(JobState.FAILED)

    drive_watched(cut_off, submitted, Work(be_overtaken))
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "step"), PLACES, ids=[step for _, step in PLACES])
def test_mongodb_may_go_away_at_any_step(
    services: Services,
    submitted: Job,
    far: tuple[Gate, Services],
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    step: str,
    landed: bool,
) -> None:
    gate, worker = far
    module, _, name = owner.rpartition(".")
    target = owner if name.islower() else f"{module}.{name}"
    original = resolved(target, step)
    cuts: list[bool] = []

    def cut_off(*arguments: Any, **options: Any) -> Any:
        first = not cuts
        made = original(*arguments, **options) if landed else None
        if first:
            cuts.append(True)
            gate.shut(Manner.KILLED)
            open_soon(gate, 1)
        return made if landed else original(*arguments, **options)

    monkeypatch.setattr(f"{target}.{step}", cut_off)
    work = Work(succeed)
    drive_watched(worker, submitted, work)
    ended = stored(services, submitted)
    assert (work.runs, ended.fence, ended.attempts) == (1, 1, 1), "the one claim brought it to its end"
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_a_job_that_was_decided_and_not_settled_is_settled_after_the_return_of_mongodb(
    services: Services, submitted: Job, far: tuple[Gate, Services], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, worker = far
    watch = LeaseWatch(LEASE_SECONDS)

    def cut_and_stop(*arguments: Any, **options: Any) -> None:
        gate.shut(Manner.KILLED)
        watch.shut_down()
        with within(0.5):
            worker.jobs.get(submitted.scope, submitted.job_id)

    work = Work(succeed)
    with monkeypatch.context() as patch:
        patch.setattr("core.credits.ledger.Ledger.capture", cut_and_stop)
        with pytest.raises(PyMongoError):
            JobDriver(worker, watch, {JobKind.RETRIEVER: work}).drive(submitted.job_id)
    assert stored(services, submitted).state is JobState.FINISHING
    gate.open()
    services.redis.flushall()
    wait_until(lambda: Sweeper(services).ring_for_due_jobs() == 1, 60, "a ring")
    driver(services, work).drive(submitted.job_id)
    assert (work.runs, stored(services, submitted).attempts) == (1, 1)
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_a_worker_claims_no_job_that_it_runs(services: Services, submitted: Job) -> None:
    drives = driver(services, Work(succeed))

    def be_rung_for_again(watched: Watched) -> Decision:
        end_lease(services, submitted)
        assert not drives.drive(submitted.job_id)
        return succeed(watched)

    drives._executors = {JobKind.RETRIEVER: Work(be_rung_for_again)}
    assert drives.drive(submitted.job_id)
    assert stored(services, submitted).attempts == 1
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_when_mongodb_is_back_another_worker_lets_those_who_run_jobs_go_on_first(
    services: Services, submitted: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    mongo = Fault(BackendAwayError(Backend.MONGO))
    backends, work = BackendWatch({Backend.MONGO: mongo}), Work(succeed)
    backends.look()
    mongo.error = None
    assert claimed(services.queue, submitted.job_id, "the one that runs it")
    drive_often(services, submitted, work, backends=backends)
    backends.look()
    drive_often(services, submitted, work, backends=backends)
    assert (work.runs, stored(services, submitted).attempts) == (0, 1)
    monkeypatch.setattr("workers.drive_job._FIRST_WORD_SECONDS", 0.0)
    drive_often(services, submitted, work, times=1, backends=backends)
    assert (work.runs, stored(services, submitted).attempts) == (1, 2), "later it is taken for dead"


@pytest.mark.parametrize("landed", [False, True])
def test_a_claim_whose_answer_is_lost_is_one_attempt(services: Services, submitted: Job, landed: bool) -> None:
    with lost_answer("jobs", "update_one", landed=landed):
        assert driver(services, Work(succeed)).drive(submitted.job_id)
    assert (stored(services, submitted).fence, stored(services, submitted).attempts) == (1, 1)
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("step", ["decide", "hand_back", "wait_for", "finish"])
def test_a_write_whose_answer_is_lost_is_made_once(
    services: Services, submitted: Job, monkeypatch: pytest.MonkeyPatch, step: str, landed: bool
) -> None:
    original = resolved("core.jobs.lease.Lease", step)

    def lose(*arguments: Any, **options: Any) -> None:
        with lost_answer("jobs", "update_one", landed=landed):
            original(*arguments, **options)

    monkeypatch.setattr(f"core.jobs.lease.Lease.{step}", lose)
    error = {"hand_back": UnavailableError(), "wait_for": BackendAwayError(Backend.VECTORS)}.get(step)
    driven = drive_often(services, submitted, Work(Fault(error)), times=1)
    if error is None:
        assert driven.fence == 1
        assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)
    else:
        counted = int(step == "hand_back")
        assert (driven.state, driven.attempts, driven.waits) == (JobState.QUEUED, counted, 1 - counted)
