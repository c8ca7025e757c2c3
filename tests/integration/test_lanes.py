"""A real worker process: the two lanes do not wait for each other, and neither waits for a broker.

Asserted by the order of events: a batch ends only when the test lets it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import Settings
from core import health
from core.bootstrap import Services, build_services
from core.health import SlotsFacts, worker_is_stalled
from core.ids import Prefix, random_id
from core.jobs.job import Job, JobKind, JobState, NewJob
from core.jobs.lane import Lane
from core.storage.scope import NamespaceScope
from tests.servers import Server, free_port, own_database, redis_server
from tests.stack import wait_until

ROOT = Path(__file__).parents[2]
KEY = SecretStr("k1:" + "A" * 43)
SECONDS = 60
SLOTS = 2


class Place:
    """One installation: its database, its broker, and the files by which a batch begins and ends."""

    def __init__(self, services: Services, directory: Path, scope: NamespaceScope) -> None:
        self.services = services
        self.directory = directory
        self._scope = scope

    def submit(self, kind: JobKind, number: int) -> list[Job]:
        """So many jobs."""
        ids = {"retriever_id": "ret_1", "execution_id": "exec_1", "batch_id": "btch_1", "collection_ids": ["col_1"]}
        new = [NewJob(random_id(Prefix.TASK), kind, ids, 0, "req_1") for _ in range(number)]
        return [self.services.submission.submit(self._scope, each) for each in new]

    def state(self, job: Job) -> JobState:
        """What became of a job."""
        return self.services.jobs.get(self._scope, job.job_id).state

    def states(self, jobs: list[Job]) -> set[JobState]:
        """What became of them."""
        return {self.state(job) for job in jobs}

    def wait_for(self, jobs: list[Job], state: JobState = JobState.SUCCEEDED) -> None:
        """Until they all are so."""
        wait_until(lambda: self.states(jobs) == {state}, SECONDS, f"{state}, they are {self.states(jobs)}")

    def begun(self) -> list[str]:
        """The batches that began, in order."""
        noted = self.directory / "begun"
        return noted.read_text().split() if noted.exists() else []

    def end(self, name: str = "all") -> None:
        """Let a batch end, or all."""
        (self.directory / f"end-{name}").touch()

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process, that ends in order."""
        settings = self.services.settings
        told = {
            "KEYSTAGE_DATA": str(settings.data),
            "KEYSTAGE_MONGO_URL": settings.mongo_url,
            "KEYSTAGE_REDIS_URL": settings.redis_url,
            "KEYSTAGE_BROKER_URL": settings.broker,
            "KEYSTAGE_RAY_ADDRESS": f"127.0.0.1:{free_port()}",
            "KEYSTAGE_VAULT_KEYS": KEY.get_secret_value(),
            "KEYSTAGE_KEY_PEPPERS": KEY.get_secret_value(),
            "KEYSTAGE_AUDIT_KEYS": KEY.get_secret_value(),
            "KEYSTAGE_INTERACTIVE_SLOTS": str(SLOTS),
            "KEYSTAGE_BATCH_SLOTS": str(SLOTS),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "tests.integration.played_worker", str(self.directory)]
        process = subprocess.Popen(command, env={**os.environ, **told}, cwd=self.directory)
        try:
            yield process
            assert process.poll() is None, "the worker ended by itself"
            process.terminate()
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()

    def facts(self, lane: Lane) -> SlotsFacts | None:
        """What the worker says of a lane."""
        return next((SlotsFacts.of(beat, lane) for beat in self.services.heartbeats.fresh("worker")), None)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """A Redis of the test's own as the broker."""
    directory = tmp_path / "broker"
    directory.mkdir()
    with redis_server(directory) as server:
        yield server


@pytest.fixture
def place_with(
    mongo_url: str, redis_url: str, tmp_path: Path, scope: NamespaceScope
) -> Iterator[Callable[[str], Place]]:
    """Makes an installation with this broker."""
    made: list[Services] = []

    def make(broker_url: str) -> Place:
        keys = {"vault_keys": (KEY,), "key_peppers": (KEY,), "audit_keys": (KEY,)}
        settings = Settings(
            _env_file=None,
            data=tmp_path / "data",
            mongo_url=own_database(mongo_url),
            redis_url=redis_url,
            broker_url=broker_url,
            **keys,  # type: ignore[arg-type]
        )
        made.append(build_services(settings))
        return Place(made[-1], tmp_path, scope)

    yield make
    for services in made:
        services.close()


def test_batches_in_every_batch_slot_delay_no_execution(broker: Server, place_with: Callable[[str], Place]) -> None:
    place = place_with(broker.url)
    with place.worker():
        batches = place.submit(JobKind.INGESTION, SLOTS + 3)
        wait_until(lambda: len(place.begun()) == SLOTS, SECONDS, "a batch in each slot")
        executions = place.submit(JobKind.RETRIEVER, 10)
        place.wait_for(executions)
        # not one batch has ended, or begun in a slot of the executions' own
        assert place.states(batches) == {JobState.RUNNING, JobState.QUEUED}
        assert len(place.begun()) == SLOTS
        place.end()
        place.wait_for(batches)
    assert sorted(place.begun()) == sorted(job.job_id for job in batches)


def test_without_a_broker_all_jobs_go_on(place_with: Callable[[str], Place]) -> None:
    place = place_with(f"redis://127.0.0.1:{free_port()}/0")
    early = place.submit(JobKind.INGESTION, 1) + place.submit(JobKind.RETRIEVER, 3)
    place.end()
    with place.worker():
        place.wait_for(early)
        # and what comes while it runs
        late = place.submit(JobKind.INGESTION, 2 * SLOTS + 1) + place.submit(JobKind.RETRIEVER, 5)
        place.wait_for(late)


def test_doorbells_that_get_lost_delay_jobs_and_no_more(broker: Server, place_with: Callable[[str], Place]) -> None:
    place = place_with(broker.url)
    place.end()
    with place.worker():
        heard = place.submit(JobKind.RETRIEVER, 1)
        place.wait_for(heard)
        place.services.doorbell.ring = lambda *_: True  # type: ignore[method-assign]
        place.wait_for(place.submit(JobKind.RETRIEVER, 2) + place.submit(JobKind.INGESTION, 2))


def test_a_silent_broker_holds_up_no_work_and_makes_no_worker_look_stalled(
    broker: Server, place_with: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_with(broker.url)
    place.end()
    with place.worker() as worker:
        place.wait_for(place.submit(JobKind.RETRIEVER, 1))
        os.kill(broker.process.pid, signal.SIGSTOP)
        try:
            place.wait_for(place.submit(JobKind.RETRIEVER, 3) + place.submit(JobKind.INGESTION, 3))
            services = place.services
            # nothing was heard for as long as a stall takes, and nothing is due: at work
            monkeypatch.setattr(health, "STALL", health.STALL / 10)
            quiet = [time.monotonic()]
            wait_until(lambda: time.monotonic() - quiet[0] > 2 * health.STALL.total_seconds(), SECONDS, "quiet")
            assert not worker_is_stalled(services.queue, services.heartbeats, services.clock)
            place.wait_for(place.submit(JobKind.RETRIEVER, 1))
            assert worker.poll() is None
        finally:
            os.kill(broker.process.pid, signal.SIGCONT)
        place.wait_for(place.submit(JobKind.RETRIEVER, 1))


def test_at_the_end_running_jobs_are_handed_back_and_waiting_ones_left(
    broker: Server, place_with: Callable[[str], Place]
) -> None:
    place = place_with(broker.url)
    with place.worker():
        batches = place.submit(JobKind.INGESTION, SLOTS + 2)
        wait_until(lambda: len(place.begun()) == SLOTS, SECONDS, "a batch in each slot")
    after = [place.services.jobs.get(job.scope, job.job_id) for job in batches]
    assert {job.state for job in after} == {JobState.QUEUED}
    assert {job.attempts for job in after} == {0}
    assert len(place.begun()) == SLOTS
    # all of them are due now: another worker need not wait for a lease
    assert {due.job_id for due in place.services.queue.due(10)} == {job.job_id for job in batches}


def test_a_heartbeat_says_how_each_lane_is(broker: Server, place_with: Callable[[str], Place]) -> None:
    place = place_with(broker.url)
    with place.worker():
        place.submit(JobKind.INGESTION, 1)
        wait_until(lambda: (facts := place.facts(Lane.BATCH)) is not None and facts.busy == 1, SECONDS, "a busy slot")
        interactive = place.facts(Lane.INTERACTIVE)
        assert interactive is not None
        assert (interactive.slots, interactive.busy) == (SLOTS, 0)
        place.end()
