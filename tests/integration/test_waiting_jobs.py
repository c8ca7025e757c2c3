"""A backend that is away is nobody's attempt: its jobs wait, say so, go on by themselves, and end at an age."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect
from structlog.testing import capture_logs

from api.schemas.tasks import show_task
from core.backends.backend import TITLES, Backend
from core.backends.watch import BackendWatch
from core.bootstrap import Services
from core.errors import BackendAwayError
from core.ids import Prefix, random_id
from core.jobs.away import FREE_TRIES
from core.jobs.job import Decision, Job, JobKind, JobState
from core.jobs.lane import Lane
from core.jobs.waiting import tell_waiting
from core.storage.blobs import BlobStore
from core.storage.redis import job_done_key
from core.storage.scope import NamespaceScope
from core.vault.kek_environment import EnvironmentKeys
from core.vault.resolved import ResolvedSecrets
from core.vault.secret import SecretLimits
from pipelines.runner import ChainResult
from tests.gate import Manner, gate_to
from tests.integration.test_drive_job import CHARGE, HOLD, Work, assert_ended_once, succeed
from tests.integration.waiting import (
    MAX_ATTEMPTS,
    TRIES,
    Fault,
    drive_often,
    events_of,
    services_on,
    stored,
    submit,
    watch_of,
)
from tests.stack import wait_until
from workers.backends import through_ray
from workers.execution import RetrieverExecutor
from workers.sweeper import Sweeper
from workers.watch import Watched
from workers.worker import Worker


@pytest.fixture
def services(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Services]:
    with closing(services_on(database_url, redis_url, tmp_path)) as services:
        yield services


@pytest.fixture
def submitted(services: Services, scope: NamespaceScope) -> Job:
    return submit(services, scope)


def in_haste(services: Services, **changed: Any) -> Services:
    return replace(services, settings=services.settings.model_copy(update=changed))


# Waiting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", sorted(set(Backend) - {Backend.MONGO}))
def test_a_job_whose_backend_is_away_waits_and_goes_on_by_itself(
    services: Services, submitted: Job, backend: Backend
) -> None:
    away = Fault(BackendAwayError(backend, "refused the connection"))
    backends = watch_of(**{backend.name: away})
    with capture_logs() as logs:
        waiting = drive_often(services, submitted, Work(away), backends=backends)
        away.error = None
        backends.look()
        ended = drive_often(services, submitted, Work(away), times=1, backends=backends)
    assert (waiting.state, waiting.waiting_for, waiting.waits, waiting.attempts) == (JobState.QUEUED, backend, TRIES, 0)
    assert waiting.due_at is not None
    assert waiting.due_at > services.clock.now()
    assert (ended.waiting_for, ended.waits, ended.attempts) == (None, 0, 1)
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)
    # once, not once a try; the line of a drive is written for the first wait and for the end
    assert events_of(logs) == [
        "backend.away", "job.waits", "job.driven", "backend.back", "job.goes_on", "job.driven",
    ]  # fmt: skip


def test_what_was_done_before_the_wait_stays_done_and_held(services: Services, submitted: Job) -> None:
    def half(watched: Watched) -> Decision:
        watched.lease.checkpoint(["a"], {"objects_succeeded": 1})
        raise BackendAwayError(Backend.VECTORS)

    waiting = drive_often(services, submitted, Work(half))
    assert (sorted(waiting.done), dict(waiting.progress)) == (["a"], {"objects_succeeded": 1})
    assert services.ledger.balance(submitted.scope).held == HOLD
    assert waiting.waits == 1, "each try came further, so each wait is the first of its row"


def test_while_its_stages_run_a_job_waits_for_nothing(services: Services, submitted: Job) -> None:
    drive_often(services, submitted, Work(Fault(BackendAwayError(Backend.BLOBS))), times=1)
    assert stored(services, submitted).waiting_for is Backend.BLOBS
    seen = []

    def look(watched: Watched) -> Decision:
        seen.append(show_task(stored(services, submitted)).additional_data.waiting_for)
        return succeed(watched)

    drive_often(services, submitted, Work(look), times=1)
    assert seen == [None]


def test_a_job_that_is_cancelled_while_it_waits_ends_and_waits_no_more(services: Services, submitted: Job) -> None:
    waiting = drive_often(services, submitted, Work(Fault(BackendAwayError(Backend.RAY))), times=1)
    assert show_task(waiting).additional_data.waiting_for is Backend.RAY
    services.submission.cancel(submitted.scope, submitted.job_id)
    ended = drive_often(services, submitted, Work(succeed), times=1)
    assert show_task(ended).additional_data.waiting_for is None
    assert_ended_once(services, submitted, JobState.CANCELLED, charge=0)


@pytest.mark.parametrize("while_it_runs", [True, False])
def test_what_models_cost_before_the_wait_is_paid_when_it_is_cancelled(
    services: Services, submitted: Job, while_it_runs: bool
) -> None:
    def run(_: Watched) -> Decision:
        if while_it_runs:
            services.submission.cancel(submitted.scope, submitted.job_id)
        error = BackendAwayError(Backend.VECTORS)
        error.spent = CHARGE
        raise error

    drive_often(services, submitted, Work(run), times=1)
    if not while_it_runs:
        services.submission.cancel(submitted.scope, submitted.job_id)
    drive_often(services, submitted, Work(succeed), times=1)
    assert_ended_once(services, submitted, JobState.CANCELLED, CHARGE)


def test_a_backend_that_is_known_to_be_away_is_not_tried(services: Services, submitted: Job) -> None:
    ray = Fault(BackendAwayError(Backend.RAY))
    backends, work = BackendWatch({Backend.RAY: ray}), Work(succeed)
    backends.look()
    waiting = drive_often(services, submitted, work, backends=backends)
    assert (work.runs, waiting.waiting_for, waiting.attempts) == (0, Backend.RAY, 0)
    ray.error = None
    backends.look()
    drive_often(services, submitted, work, times=1, backends=backends)
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


def test_one_that_it_does_not_need_keeps_no_job(services: Services, submitted: Job) -> None:
    backends = BackendWatch({Backend.BLOBS: Fault(BackendAwayError(Backend.BLOBS))})
    backends.look()
    with capture_logs() as logs:
        drive_often(services, submitted, Work(succeed), times=1, backends=backends)
    assert events_of(logs) == ["job.driven"], "it did not wait, so it need not go on"
    assert_ended_once(services, submitted, JobState.SUCCEEDED, CHARGE)


@pytest.mark.parametrize(
    ("silent", "probe_answers", "attempts", "code"),
    [
        pytest.param(True, True, 1, None, id="silent to this job alone"),
        pytest.param(True, False, 0, Backend.VECTORS, id="silent to all"),
        pytest.param(False, True, 0, Backend.VECTORS, id="refused, and back already"),
        pytest.param(False, False, 0, Backend.VECTORS, id="refused"),
    ],
)
def test_the_first_silence_counts_when_the_probe_is_answered_and_the_first_refusal_does_not(
    services: Services, submitted: Job, silent: bool, probe_answers: bool, attempts: int, code: Backend | None
) -> None:
    error = BackendAwayError(Backend.VECTORS, silent=silent)
    backends = BackendWatch({Backend.VECTORS: Fault(None if probe_answers else error)})
    tried = drive_often(services, submitted, Work(Fault(error)), times=1, backends=backends)
    assert (tried.state, tried.attempts, tried.waiting_for) == (JobState.QUEUED, attempts, code)
    assert backends.away() == (frozenset() if probe_answers else {Backend.VECTORS}), "all others hear of it at once"


def test_one_that_was_away_a_moment_ago_is_not_the_jobs_fault(services: Services, submitted: Job) -> None:
    probe = Fault(BackendAwayError(Backend.BLOBS))
    backends = BackendWatch({Backend.BLOBS: probe})
    backends.look()
    probe.error = None
    silent = Work(Fault(BackendAwayError(Backend.BLOBS, silent=True)))
    assert drive_often(services, submitted, silent, times=1, backends=backends).attempts == 0


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("kind", [JobKind.INGESTION, JobKind.RETRIEVER])
@pytest.mark.parametrize("backend", sorted(set(Backend) - {Backend.MONGO, Backend.REDIS, Backend.BROKER}))
def test_a_failure_that_is_the_jobs_alone_ends_it_after_its_attempts(
    services: Services, scope: NamespaceScope, kind: JobKind, backend: Backend, silent: bool
) -> None:
    job, poison = submit(services, scope, kind), Work(Fault(BackendAwayError(backend, silent=silent)))
    backends, free = watch_of(), 0 if silent else FREE_TRIES
    waiting = drive_often(services, job, poison, free, backends=backends)
    assert (waiting.waiting_for, waiting.attempts) == (None if silent else backend, 0)
    counted = drive_often(services, job, poison, MAX_ATTEMPTS, backends=backends)
    assert (counted.state, counted.waiting_for, counted.attempts) == (JobState.QUEUED, None, MAX_ATTEMPTS)
    ended = drive_often(services, job, poison, 1, backends=backends)
    assert ended.decision is not None
    assert ended.decision.error is not None
    assert ended.decision.error.code == "attempts_exhausted"
    assert poison.runs == free + MAX_ATTEMPTS
    assert services.ledger.balance(scope).held == 0


def test_an_absence_between_two_such_failures_is_no_attempt(services: Services, submitted: Job) -> None:
    probe = Fault(None)
    backends, poison = watch_of(BLOBS=probe), Work(Fault(BackendAwayError(Backend.BLOBS)))
    assert drive_often(services, submitted, poison, FREE_TRIES + 1, backends=backends).attempts == 1
    probe.error = BackendAwayError(Backend.BLOBS)
    assert drive_often(services, submitted, poison, 2, backends=backends).attempts == 1
    probe.error = None
    backends.look()
    back = drive_often(services, submitted, poison, 1, backends=backends)
    assert (back.attempts, back.waiting_for) == (1, Backend.BLOBS), "it is back since a moment: no probe can tell"


def test_what_was_waited_for_before_leaves_every_try_free(services: Services, submitted: Job) -> None:
    ray, busy = Fault(BackendAwayError(Backend.RAY)), Work(Fault(BackendAwayError(Backend.BLOBS)))
    backends = watch_of(RAY=ray)
    backends.look()
    assert drive_often(services, submitted, busy, FREE_TRIES, backends=backends).waits == FREE_TRIES
    ray.error = None
    backends.look()
    assert drive_often(services, submitted, busy, FREE_TRIES, backends=backends).attempts == 0
    assert drive_often(services, submitted, busy, 1, backends=backends).attempts == 1


def test_a_try_that_came_further_is_free_again(services: Services, submitted: Job) -> None:
    pieces = map(str, count())

    def one_more(watched: Watched) -> Decision:
        watched.lease.checkpoint([next(pieces)], {})
        raise BackendAwayError(Backend.BLOBS)

    assert drive_often(services, submitted, Work(one_more), 2 * FREE_TRIES, backends=watch_of()).attempts == 0


def test_where_ray_is_away_nobody_can_tell_whose_fault_it_was(services: Services, submitted: Job) -> None:
    through_ray = Fault(BackendAwayError(Backend.RAY))
    silent = Work(Fault(BackendAwayError(Backend.VECTORS, silent=True)))
    backends = watch_of(RAY=through_ray, VECTORS=through_ray)
    assert drive_often(services, submitted, silent, 1, backends=backends).attempts == 0


def test_what_models_cost_is_paid_when_the_attempts_are_used_up(services: Services, submitted: Job) -> None:
    error = BackendAwayError(Backend.VECTORS, silent=True)
    error.spent = CHARGE
    drive_often(services, submitted, Work(Fault(error)), MAX_ATTEMPTS + 1, backends=watch_of())
    assert_ended_once(services, submitted, JobState.FAILED, CHARGE)


# The key service --------------------------------------------------------------------------------------


class PlayedChain:
    """Stages that find nothing, and see the secret that they are given."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def run_chain(self, *_: object, secrets: ResolvedSecrets, **__: object) -> ChainResult:
        self.seen.append(list(secrets.values))
        return ChainResult([], {})


def with_a_secret(services: Services, scope: NamespaceScope) -> Job:
    parameters = {"provider": "openai", "api_key": "{{secrets.k}}"}
    stages = [{"stage_name": "s", "config": {"stage_id": "llm_enrich", "parameters": parameters}}]
    return submit(services, scope, stages=stages, inputs={}, limit=1)


def test_a_job_whose_secret_cannot_be_opened_now_waits_for_the_key_service(
    services: Services, scope: NamespaceScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.secrets.create(scope, random_id(Prefix.SECRET), "k", "sk-proj-of-the-customer", SecretLimits())
    job, chain = with_a_secret(services, scope), PlayedChain()
    work: Any = RetrieverExecutor(services, chain)  # type: ignore[arg-type]  # of Ray it needs a chain alone
    with monkeypatch.context() as patch:
        # what the providers raise is a promise of tests/contract/test_key_encryption.py
        away = Fault(BackendAwayError(Backend.KEY_SERVICE))
        patch.setattr(EnvironmentKeys, "unwrap", away)
        waiting = drive_often(services, job, work, backends=watch_of(KEY_SERVICE=away))
    assert (waiting.waiting_for, waiting.attempts, chain.seen) == (Backend.KEY_SERVICE, 0, [])
    ended = drive_often(services, job, work, times=1)
    assert (ended.state, ended.attempts, chain.seen) == (JobState.SUCCEEDED, 1, [["sk-proj-of-the-customer"]])


def test_a_secret_that_is_missing_is_waited_for_by_nobody(services: Services, scope: NamespaceScope) -> None:
    job = with_a_secret(services, scope)
    work: Any = RetrieverExecutor(services, PlayedChain())  # type: ignore[arg-type]  # of Ray it needs a chain alone
    ended = drive_often(services, job, work, times=1)
    assert ended.decision is not None
    assert ended.decision.error is not None
    assert ended.decision.error.code == "secret_missing"


# Giving up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spent", [0, CHARGE])
@pytest.mark.parametrize(
    ("kind", "setting"),
    [(JobKind.INGESTION, "backend_wait_seconds"), (JobKind.RETRIEVER, "execution_seconds")],
)
def test_at_its_age_a_job_that_still_waits_fails_and_names_what_was_away(
    services: Services, scope: NamespaceScope, kind: JobKind, setting: str, spent: int
) -> None:
    job = submit(services, scope, kind)
    error = BackendAwayError(Backend.KEY_SERVICE)
    error.spent = spent
    ended = drive_often(in_haste(services, **{setting: 0.0}), job, Work(Fault(error)), times=1)
    assert ended.decision is not None
    assert ended.decision.error is not None
    assert ended.decision.error.code == "backend_away"
    assert ended.decision.error.message.startswith(TITLES[Backend.KEY_SERVICE])
    assert show_task(ended).additional_data.waiting_for is None
    assert_ended_once(services, job, JobState.FAILED, charge=spent)


def test_what_models_cost_before_the_wait_is_paid_when_it_ends_without_another_try(
    services: Services, submitted: Job
) -> None:
    error = BackendAwayError(Backend.VECTORS)
    error.spent = CHARGE
    drive_often(services, submitted, Work(Fault(error)), times=1)
    backends = BackendWatch({Backend.VECTORS: Fault(error)})
    backends.look()
    drive_often(in_haste(services, execution_seconds=0.0), submitted, Work(succeed), times=1, backends=backends)
    assert_ended_once(services, submitted, JobState.FAILED, CHARGE)


def test_it_is_tried_once_more_at_the_very_end(services: Services, submitted: Job) -> None:
    brief = in_haste(services, execution_seconds=20.0)
    away = Fault(BackendAwayError(Backend.RAY))
    waiting = drive_often(brief, submitted, Work(away), times=TRIES + 4, backends=watch_of(RAY=away))
    assert waiting.due_at is not None
    assert waiting.due_at - waiting.created_at <= timedelta(seconds=20.1)


@pytest.mark.parametrize("answers_its_probe", [False, True])
@pytest.mark.parametrize("kind", [JobKind.NAMESPACE_DELETION, JobKind.INDEX_REBUILD])
def test_maintenance_waits_for_as_long_as_it_takes(
    services: Services, scope: NamespaceScope, kind: JobKind, answers_its_probe: bool
) -> None:
    job = submit(services, scope, kind)
    forever = in_haste(services, backend_wait_seconds=0.0, execution_seconds=0.0)
    away = Fault(BackendAwayError(Backend.VECTORS))
    backends = watch_of() if answers_its_probe else watch_of(VECTORS=away)
    waiting = drive_often(forever, job, Work(away), FREE_TRIES + 2, backends=backends)
    assert (waiting.state, waiting.waiting_for, waiting.attempts) == (JobState.QUEUED, Backend.VECTORS, 0)


# Who waits hears of it --------------------------------------------------------------------------------


def test_a_caller_that_waits_is_told_at_once_and_has_time_to_take_the_job_back(
    services: Services, scope: NamespaceScope
) -> None:
    job = submit(services, scope, awaited=True)
    waiting = drive_often(services, job, Work(Fault(BackendAwayError(Backend.VECTORS))), times=1)
    assert services.redis.llen(job_done_key(scope.namespace_id, job.job_id)) == 1
    assert waiting.due_at is not None
    assert waiting.due_at - services.clock.now() > timedelta(seconds=1)


def test_metrics_say_what_is_away_and_how_many_wait_for_it(services: Services, submitted: Job) -> None:
    drive_often(services, submitted, Work(Fault(BackendAwayError(Backend.VECTORS))), times=1)
    facts = {"away": ["vector_store"], "waited": {"vector_store": 1}, "slots": 1}
    services.heartbeats.beat("worker:a:1", "worker", facts)
    Sweeper(services).sweep()
    services.backends.note_away(Backend.BLOBS)
    text = services.metrics.text().decode()
    assert 'keystage_backend_away{backend="object_storage",process="api"} 1.0' in text
    assert 'keystage_backend_away{backend="cache",process="api"} 0.0' in text
    assert 'keystage_backend_away{backend="vector_store",process="worker:a:1"} 1.0' in text
    assert 'keystage_backend_away{backend="cache",process="worker:a:1"} 0.0' in text
    assert 'keystage_jobs_waited_total{backend="vector_store",process="worker:a:1"} 1.0' in text
    (waiting,) = [line for line in text.splitlines() if line.startswith("keystage_jobs_waiting{")]
    assert waiting.startswith('keystage_jobs_waiting{backend="vector_store",process="sweeper:')
    assert waiting.endswith(" 1.0")


def test_the_sweeper_says_once_that_mongodb_is_away(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Exception | None] = [AutoReconnect("away"), AutoReconnect("away"), None, AutoReconnect("away")]
    sweeper = Sweeper(services)

    def sweep() -> None:
        if error := found.pop(0):
            raise error

    monkeypatch.setattr(sweeper, "sweep", sweep)
    with capture_logs() as logs:
        for _ in range(len(found)):
            sweeper.round()
    assert events_of(logs) == ["backend.away", "backend.back", "backend.away"]


def test_an_absence_is_said_once_however_many_of_a_process_meet_it(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    both = {Backend.REDIS: True, Backend.BROKER: True}
    with gate_to(redis_url) as (gate, url), closing(services_on(database_url, url, tmp_path)) as services:

        def meet() -> bool:
            tell_waiting(services.redis, "ns_a", "task_a")
            rung = services.doorbell.ring(Lane.BATCH, "task_a", "ns_a")
            return services.backends.look(both) == both and rung

        assert meet()
        with capture_logs() as logs:
            gate.shut(Manner.KILLED)
            # the doorbell does not ask while the memory of Redis refuses
            wait_until(lambda: not meet() and services.backends.away() == both.keys(), 60, "an absence")
            gate.open()
            wait_until(meet, 60, "a return")
    for event in ("backend.away", "backend.back"):
        assert sorted(line["backend"] for line in logs if line["event"] == event) == sorted(both)
    assert set(events_of(logs)) == {"backend.away", "backend.back"}


class PlayedRunner:
    """Ray and what is behind it, as far as a worker's probes go."""

    def __init__(self) -> None:
        self.probe_ray, self.probe_inference = Fault(None), Fault(None)
        self.probe_vectors = Fault(None)


def test_a_worker_watches_every_backend_by_its_own_probe(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, key_service = PlayedRunner(), Fault(None)
    monkeypatch.setattr(EnvironmentKeys, "probe", key_service)
    with gate_to(database_url) as (to_mongo, mongo), gate_to(redis_url) as (to_redis, redis):
        # its probes alone are asked
        services = services_on(mongo, redis, tmp_path, through_ray(runner))  # type: ignore[arg-type]
        watch = services.backends
        assert watch.look() == dict.fromkeys(Backend, True)
        to_mongo.shut(Manner.KILLED)
        to_redis.shut(Manner.KILLED)
        key_service.error = BackendAwayError(Backend.KEY_SERVICE)
        monkeypatch.setattr(BlobStore, "put", Fault(BackendAwayError(Backend.BLOBS)))
        for backend in (Backend.RAY, Backend.VECTORS, Backend.EMBEDDER):
            getattr(runner, PROBES[backend]).error = BackendAwayError(backend)
        assert watch.look() == dict.fromkeys(Backend, False)
        to_mongo.open()
        services.close()


PROBES = {Backend.RAY: "probe_ray", Backend.VECTORS: "probe_vectors", Backend.EMBEDDER: "probe_inference"}


def test_a_heartbeat_is_written_at_once_when_a_backend_goes_or_comes(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.worker.HEARTBEAT_SECONDS", 600)
    runner = PlayedRunner()
    # its probes alone are asked
    services = services_on(database_url, redis_url, tmp_path, through_ray(runner))  # type: ignore[arg-type]
    worker = Worker(services, runner)  # type: ignore[arg-type]
    beats = threading.Thread(target=worker._beat_until_stopped, daemon=True)
    beats.start()
    try:
        wait_until(lambda: _said_away(services) == [], 60, "a heartbeat")
        runner.probe_vectors.error = BackendAwayError(Backend.VECTORS)
        worker._backends.look()
        wait_until(lambda: _said_away(services) == ["vector_store"], 60, "a heartbeat")
        runner.probe_vectors.error = None
        worker._backends.look()
        wait_until(lambda: _said_away(services) == [], 60, "a heartbeat")
    finally:
        worker._stopping.set()
        worker._beat_now.set()
        beats.join()
        services.close()


def _said_away(services: Services) -> list[str] | None:
    beats = services.heartbeats.fresh("worker")
    return list(beats[0].facts["away"]) if beats else None
