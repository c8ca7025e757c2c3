"""The job engine on a real database: one claim at a time, fenced writes, checkpoints, an end that comes once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pymongo.database import Database

from core.backends.backend import Backend
from core.clock import DatabaseClock
from core.errors import LeaseLostError, NotFoundError
from core.ids import Prefix, random_id
from core.jobs.announcement import events_of
from core.jobs.job import Decision, JobKind, JobState, NewJob
from core.jobs.queue import JobQueue
from core.jobs.store import JobStore
from core.storage.handles import Handles
from core.storage.mongo import Document, close, connect, database_clock
from core.storage.schema import create_schema
from core.storage.scope import NamespaceScope
from tests.claiming import claimed
from tests.lost_answers import lost_answer
from tests.mongo_commands import MongoCommands
from tests.servers import own_database

DONE = Decision(JobState.SUCCEEDED, charge=100, result={"document_count": 2})


def new_job() -> NewJob:
    spec = {"retriever_id": "ret_1", "execution_id": "exec_1"}
    return NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, spec, hold=100, request_id="req_1")


@pytest.fixture
def clock(database: Database[Document]) -> DatabaseClock:
    return database_clock(database)


@pytest.fixture
def jobs(handles: Handles, clock: DatabaseClock) -> JobStore:
    return JobStore(handles, clock)


@pytest.fixture
def queue(handles: Handles, clock: DatabaseClock) -> JobQueue:
    return JobQueue(handles, clock, lease_seconds=60)


@pytest.fixture
def forgetful_queue(handles: Handles, clock: DatabaseClock) -> JobQueue:
    """A queue whose leases have ended when they are given: every next claim is a take-over."""
    return JobQueue(handles, clock, lease_seconds=0)


@pytest.mark.parametrize("landed", [False, True])
def test_a_broken_connection_costs_no_job(jobs: JobStore, scope: NamespaceScope, landed: bool) -> None:
    new = new_job()
    with lost_answer("jobs", "insert_one", landed=landed):
        made = jobs.create(scope, new, "hold_1")
    assert [job.job_id for job in jobs.list(scope)] == [made.job_id] == [new.job_id]


def test_of_many_claimers_one_gets_the_lease(jobs: JobStore, queue: JobQueue, scope: NamespaceScope) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(lambda number: queue.claim(job.job_id, f"owner {number}"), range(16)))
    won = [lease for lease in leases if lease]
    assert [(lease.job.state, lease.job.fence, lease.job.attempts) for lease in won] == [(JobState.RUNNING, 1, 1)]


def test_creating_the_same_job_again_gives_the_one_that_stands(
    jobs: JobStore, queue: JobQueue, scope: NamespaceScope
) -> None:
    new = new_job()
    jobs.create(scope, new, "task_1")
    claimed(queue, new.job_id, "owner")
    assert jobs.create(scope, new, "task_1").state is JobState.RUNNING


def test_a_writer_with_an_old_fence_is_refused_at_every_write(
    jobs: JobStore, forgetful_queue: JobQueue, scope: NamespaceScope
) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    old = claimed(forgetful_queue, job.job_id, "old")
    new = claimed(forgetful_queue, job.job_id, "new")
    assert new.job.fence == old.job.fence + 1
    writes: list[Callable[[], None]] = [
        lambda: old.checkpoint(["piece"], {"n": 1}),
        lambda: old.decide(DONE),
        lambda: old.hand_back(timedelta(), count_attempt=True),
        lambda: old.finish(DONE, ()),
        lambda: old.announced(()),
    ]
    for write in writes:
        with pytest.raises(LeaseLostError):
            write()
    assert not old.heartbeat()
    assert jobs.get(scope, job.job_id).done == frozenset()


def test_a_checkpoint_survives_the_worker(jobs: JobStore, forgetful_queue: JobQueue, scope: NamespaceScope) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    claimed(forgetful_queue, job.job_id, "first").checkpoint(["a", "b"], {"documents_written": 7})
    retried = claimed(forgetful_queue, job.job_id, "second").job
    assert retried.done == {"a", "b"}
    assert (dict(retried.progress), retried.attempts) == ({"documents_written": 7}, 2)


def test_what_is_said_of_finished_pieces_survives_the_worker(
    jobs: JobStore, forgetful_queue: JobQueue, scope: NamespaceScope
) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    assert job.reports == ()
    lease = claimed(forgetful_queue, job.job_id, "first")
    lease.checkpoint(["a"], {}, [{"object_id": "a"}])
    lease.checkpoint(["b"], {})
    assert claimed(forgetful_queue, job.job_id, "second").job.reports == ({"object_id": "a"},)


def test_the_end_and_its_events_are_one_write(jobs: JobStore, forgetful_queue: JobQueue, scope: NamespaceScope) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    lease = claimed(forgetful_queue, job.job_id, "worker")
    lease.decide(DONE)
    events = events_of(job, DONE, job.created_at)
    lease.finish(DONE, events)
    ended = jobs.get(scope, job.job_id)
    assert (ended.state, ended.events, ended.decision) == (JobState.SUCCEEDED, events, DONE)
    assert [due.job_id for due in forgetful_queue.due(10)] == [job.job_id], "an announcement is owed"


def test_a_job_whose_announcement_died_is_claimed_to_announce_only(
    jobs: JobStore, forgetful_queue: JobQueue, scope: NamespaceScope
) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    lease = claimed(forgetful_queue, job.job_id, "first")
    lease.decide(DONE)
    lease.finish(DONE, events_of(job, DONE, job.created_at))
    again = claimed(forgetful_queue, job.job_id, "second")
    assert (again.job.state, again.job.attempts) == (JobState.SUCCEEDED, 1)
    again.announced(again.job.events)
    assert jobs.get(scope, job.job_id).events == ()
    assert forgetful_queue.due(10) == []
    assert forgetful_queue.claim(job.job_id, "third") is None


def test_a_decided_job_is_claimed_with_its_decision_and_costs_no_attempt(
    jobs: JobStore, forgetful_queue: JobQueue, scope: NamespaceScope
) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    claimed(forgetful_queue, job.job_id, "first").decide(DONE)
    again = claimed(forgetful_queue, job.job_id, "second").job
    assert (again.state, again.decision, again.attempts) == (JobState.FINISHING, DONE, 1)


def test_cancelling_a_queued_job_decides_it(jobs: JobStore, queue: JobQueue, scope: NamespaceScope) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    assert jobs.request_cancel(scope.organization, job.job_id)
    assert claimed(queue, job.job_id, "worker").job.decision == Decision(JobState.CANCELLED)


def test_cancelling_a_running_job_reaches_its_heartbeat(jobs: JobStore, queue: JobQueue, scope: NamespaceScope) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    lease = claimed(queue, job.job_id, "worker")
    assert lease.heartbeat()
    assert jobs.request_cancel(scope, job.job_id)
    assert not lease.heartbeat()
    assert lease.cancel_requested()


def test_another_tenant_neither_sees_nor_stops_a_job(jobs: JobStore, queue: JobQueue, scope: NamespaceScope) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    other = NamespaceScope(random_id(Prefix.INTERNAL), scope.namespace_id)
    with pytest.raises(NotFoundError):
        jobs.get(other, job.job_id)
    assert not jobs.request_cancel(other.organization, job.job_id)
    assert jobs.list(other) == []
    assert [found.job_id for found in jobs.list(scope)] == [job.job_id]


def test_a_job_handed_back_uncounted_is_due_again(jobs: JobStore, queue: JobQueue, scope: NamespaceScope) -> None:
    job = jobs.create(scope, new_job(), "task_1")
    claimed(queue, job.job_id, "first").hand_back(timedelta(), count_attempt=False)
    again = claimed(queue, job.job_id, "second").job
    assert (again.fence, again.attempts) == (2, 1)


def test_what_waits_is_counted_with_one_question_for_each_backend_and_no_further_than_the_bound(
    mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.jobs.queue._MOST_COUNTED", 5)
    wire = MongoCommands()
    database = connect(own_database(mongo_url), listeners=[wire])
    create_schema(database)
    waiting = [Backend.VECTORS] * 8 + [Backend.BLOBS] * 3
    named = [{"waiting_for": name} for name in waiting] + [{}] * 40
    tenant = {"internal_id": "int_a", "namespace_id": "ns_a"}
    database["jobs"].insert_many([{"_id": f"task_{at}", **tenant, **facts} for at, facts in enumerate(named)])
    queue = JobQueue(Handles(database), database_clock(database), lease_seconds=60)
    wire.sent.clear()
    wire.documents = 0
    assert queue.waiting() == {Backend.VECTORS: 5, Backend.BLOBS: 3}
    assert wire.sent == ["find jobs"] * len(Backend)
    assert wire.documents == 5 + 3
    close(database)
