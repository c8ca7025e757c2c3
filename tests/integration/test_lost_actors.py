"""What becomes of calls whose actor ends, is frozen or busy: a real Ray, and texts that end who embeds them."""

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from config.settings import Settings
from core.backends.backend import Backend
from core.bootstrap import Services, build_services
from core.buckets.bucket import FieldType, StoredBlob, StoredObject
from core.collections.collection import Collection, ExtractorConfig
from core.errors import ActorLostError, BackendAwayError
from core.ids import Prefix, random_id
from core.jobs.job import Decision, JobKind, JobState, NewJob
from core.retrievers.parameters_search import TEXT_FEATURE
from core.retrievers.stages import parse_stages
from core.storage.blobs import BlobStore
from core.storage.scope import NamespaceScope
from core.vault.resolved import NO_SECRETS
from pipelines.runner import CallCancelledError, CallContext, ChainResult, ChunkResult, Runner
from tests.embedding_server import EmbeddingServer
from tests.integration.test_runner import wait_until
from tests.ray_cluster import RayHead, attached_runner, ray_head
from tests.servers import own_database
from workers.drive_job import JobDriver
from workers.watch import LeaseWatch, Watched

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NEIGHBOURS = 8


@pytest.fixture(scope="module")
def embeddings() -> Iterator[EmbeddingServer]:
    """The embedding endpoint of all stage actors here."""
    with EmbeddingServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    """A Ray cluster."""
    with ray_head() as head:
        yield head


@pytest.fixture(scope="module")
def settings(head: RayHead, embeddings: EmbeddingServer, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a worker on that cluster."""
    return Settings(
        _env_file=None,
        data=tmp_path_factory.mktemp("data"),
        ray_address=head.address,
        ray_auth_token=head.token,
        embedder="openai:test",
        openai_base_url=embeddings.url,
        openai_api_key="sk-test",
        # what is held back is held until it is released, however slow the machine is
        embedding_seconds=600,
        stage_actors=2,
        ingestion_chunk_objects=1,
        file_seconds=10,
    )


@pytest.fixture(scope="module")
def runner(settings: Settings) -> Runner:
    """A runner that is attached."""
    return attached_runner(settings)


@pytest.fixture(autouse=True)
def fresh(embeddings: EmbeddingServer) -> Iterator[None]:
    """Nothing is held back at first."""
    embeddings.release.clear()
    embeddings.armed.set()
    embeddings.asked.clear()
    embeddings.killed.clear()
    yield
    embeddings.release.set()


class Job:
    """One job's calls."""

    def __init__(self, runner: Runner, settings: Settings) -> None:
        self.call = CallContext(random_id(Prefix.NAMESPACE), random_id(Prefix.TASK), random_id(Prefix.REQUEST))
        self.stop = threading.Event()
        self._runner = runner
        self._blobs = BlobStore(settings.blobs)

    def search(self, query: str) -> ChainResult:
        """A search by meaning."""
        searches = [{"feature_uri": TEXT_FEATURE, "query": query}]
        stage: dict[str, Any] = {"stage_id": "feature_search", "parameters": {"searches": searches}}
        stored = [stage.to_stored() for stage in parse_stages([stage])]
        return self._runner.run_chain(self.call, stored, {}, ["col_1"], 10, self.stop, NO_SECRETS, 0)

    def extract(self, *texts: str) -> list[ChunkResult]:
        """The documents of objects, an object a chunk."""
        extractor = ExtractorConfig("text_extractor", "v1", {}, {}, (), True)
        collection = Collection("col_1", "texts", None, ("bkt_1",), extractor, {}, NOW, NOW)
        objects = [self._stored(number, text) for number, text in enumerate(texts)]
        return list(self._runner.extract(self.call, collection, objects, self.stop))

    def _stored(self, number: int, text: str) -> StoredObject:
        key = f"{self.call.namespace_id}/bkt_1/obj_{number}/0"
        self._blobs.put(key, text.encode())
        kind = "text/html" if text.startswith("<html>") else "text/plain"
        blob = StoredBlob("content", FieldType.TEXT, key, kind, len(text), "", {})
        return StoredObject(f"obj_{number}", "bkt_1", None, (blob,), {}, NOW, NOW)


def texts_of(chunks: list[ChunkResult]) -> list[str]:
    return sorted(document["text"] for chunk in chunks for document in chunk.documents)


def stage_actors(head: RayHead) -> list[psutil.Process]:
    return processes(head, "ray::StageActor")


def processes(head: RayHead, title: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(head.process.pid).children(recursive=True):
        try:
            if child.name().startswith(title) and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.Error:
            continue
    return found


def asked_for_held(embeddings: EmbeddingServer) -> int:
    """How many texts wait; an actor that is back asks for another one first, to learn the dimension."""
    return sum(text.startswith("held") for text in embeddings.asked)


def test_a_search_that_ends_its_actor_ends_none_of_its_neighbours_searches(
    runner: Runner, settings: Settings, embeddings: EmbeddingServer
) -> None:
    embeddings.armed.clear()
    with ThreadPoolExecutor(NEIGHBOURS + 1) as pool:
        # three of the four threads that there are for searches
        others = [pool.submit(Job(runner, settings).search, f"held {number}") for number in range(3)]
        wait_until(lambda: asked_for_held(embeddings) == 3)
        poison = pool.submit(Job(runner, settings).search, "poison")
        wait_until(lambda: embeddings.asked["poison"] == 1)
        others += [pool.submit(Job(runner, settings).search, f"held {number}") for number in range(3, NEIGHBOURS)]
        embeddings.armed.set()
        wait_until(lambda: len(embeddings.killed) == 1)
        embeddings.release.set()
        with pytest.raises(ActorLostError):
            poison.result()
        assert [other.result().documents for other in others] == [[]] * NEIGHBOURS
    # once beside others, once alone
    assert embeddings.asked["poison"] == len(embeddings.killed) == 2
    assert max(embeddings.asked[f"held {number}"] for number in range(NEIGHBOURS)) == 2


def test_a_job_that_ended_an_actor_alone_is_run_alone_from_then_on(
    runner: Runner, settings: Settings, head: RayHead, embeddings: EmbeddingServer
) -> None:
    poison = Job(runner, settings)
    with pytest.raises(ActorLostError):
        poison.search("poison")
    wait_until(lambda: len(stage_actors(head)) == 2)
    before = {actor.pid for actor in stage_actors(head)}
    with ThreadPoolExecutor(NEIGHBOURS) as pool:
        others = [pool.submit(Job(runner, settings).search, f"held {number}") for number in range(NEIGHBOURS)]
        wait_until(lambda: asked_for_held(embeddings) >= 4)
        with pytest.raises(ActorLostError):
            poison.search("poison")
        embeddings.release.set()
        assert [other.result().documents for other in others] == [[]] * NEIGHBOURS
    assert {actor.pid for actor in stage_actors(head)} == before
    assert len(embeddings.killed) == 3


def test_a_batch_that_ends_its_actor_ends_no_neighbours_batch(
    runner: Runner, settings: Settings, embeddings: EmbeddingServer
) -> None:
    with ThreadPoolExecutor(NEIGHBOURS + 1) as pool:
        others = [
            pool.submit(Job(runner, settings).extract, *(f"text {number} {part}" for part in range(3)))
            for number in range(NEIGHBOURS)
        ]
        poison = pool.submit(Job(runner, settings).extract, "good", "poison", "better")
        with pytest.raises(ActorLostError):
            poison.result()
        for number, other in enumerate(others):
            assert texts_of(other.result()) == [f"text {number} {part}" for part in range(3)]
    assert len(embeddings.killed) == 2


@pytest.fixture
def services(mongo_url: str, redis_url: str, tmp_path: Path) -> Iterator[Services]:
    key = SecretStr(f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}")
    services = build_services(
        Settings(
            _env_file=None,
            data=tmp_path,
            mongo_url=own_database(mongo_url),
            redis_url=redis_url,
            vault_keys=(key,),
            key_peppers=(key,),
            job_max_attempts=3,
        )
    )
    yield services
    services.close()


class Searching:
    """An executor of jobs that search for one text."""

    def __init__(self, runner: Runner, settings: Settings) -> None:
        self._runner = runner
        self._settings = settings

    def run(self, watched: Watched) -> Decision:
        work = Job(self._runner, self._settings)
        work.call = CallContext(watched.lease.job.scope.namespace_id, watched.lease.job.job_id, "req_1")
        work.stop = watched.stop
        work.search(watched.lease.job.spec["query"])
        return Decision(JobState.SUCCEEDED)


def test_a_job_whose_stage_ends_its_actor_ends_after_its_attempts_and_only_itself(
    runner: Runner, settings: Settings, embeddings: EmbeddingServer, services: Services, scope: NamespaceScope
) -> None:
    services.ledger.grant(scope, "grant", 100)
    driver = JobDriver(services, LeaseWatch(20), {JobKind.RETRIEVER: Searching(runner, settings)})

    def submitted(query: str) -> str:
        spec = {"retriever_id": "ret_1", "execution_id": "exec_1", "query": query}
        new = NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, spec, 1, "req_1")
        return services.submission.submit(scope, new).job_id

    def drive(job_id: str) -> None:
        jobs = services.handles.namespace(scope)["jobs"]
        while not services.jobs.get(scope, job_id).is_final:
            jobs.update_one({"_id": job_id, "due_at": {"$gt": services.clock.now()}}, [{"$set": {"due_at": "$$NOW"}}])
            driver.drive(job_id)

    embeddings.armed.clear()
    poison, others = submitted("poison"), [submitted(f"held {number}") for number in range(NEIGHBOURS)]
    with ThreadPoolExecutor(NEIGHBOURS + 1) as pool:
        driven = [pool.submit(drive, job_id) for job_id in others[:3]]
        wait_until(lambda: asked_for_held(embeddings) == 3)
        driven.append(pool.submit(drive, poison))
        wait_until(lambda: embeddings.asked["poison"] == 1)
        driven += [pool.submit(drive, job_id) for job_id in others[3:]]
        embeddings.armed.set()
        wait_until(lambda: len(embeddings.killed) == 1)
        embeddings.release.set()
        for one in driven:
            one.result()
    ended = [services.jobs.get(scope, job_id) for job_id in others]
    assert [(job.state, job.attempts) for job in ended] == [(JobState.SUCCEEDED, 1)] * NEIGHBOURS
    failed = services.jobs.get(scope, poison)
    assert failed.state is JobState.FAILED
    assert failed.decision
    assert failed.decision.error
    assert failed.decision.error.code == "attempts_exhausted"
    # beside others in the first attempt only
    assert len(embeddings.killed) == 4


def test_one_long_document_keeps_neither_its_own_job_nor_others_from_the_idle_actor(
    runner: Runner, settings: Settings, embeddings: EmbeddingServer
) -> None:
    with ThreadPoolExecutor(3) as pool:
        long = pool.submit(Job(runner, settings).extract, "held", *(f"own {number}" for number in range(6)))
        wait_until(lambda: embeddings.asked["held"] == 1)
        others = [pool.submit(Job(runner, settings).extract, *(f"{name} {n}" for n in range(4))) for name in "ab"]
        assert [len(other.result()) for other in others] == [4, 4]
        wait_until(lambda: embeddings.asked["own 5"] == 1)
        assert not long.done()
        embeddings.release.set()
        assert len(long.result()) == 7


def test_searches_go_past_one_that_is_stuck(runner: Runner, settings: Settings, embeddings: EmbeddingServer) -> None:
    with ThreadPoolExecutor(3) as pool:
        stuck = [pool.submit(Job(runner, settings).search, f"held {number}") for number in range(3)]
        wait_until(lambda: asked_for_held(embeddings) == 3)
        for number in range(10):
            assert Job(runner, settings).search(f"free {number}").documents == []
        assert not any(search.done() for search in stuck)
        embeddings.release.set()
        assert [search.result().documents for search in stuck] == [[]] * 3


SLOW = "<html>" + "<b>Keys</b> are rotated. " * 160_000
"""A page on which the converter, in C code, is longer than its bound."""


def reading_processes(head: RayHead) -> dict[int, float]:
    """The processes that read files for stage actors, and the seconds for which each has worked."""
    found = {}
    for child in psutil.Process(head.process.pid).children(recursive=True):
        try:
            if "pipelines.extractors.reading_process" in child.cmdline():
                found[child.pid] = child.cpu_times().user
        except psutil.Error:
            continue
    return found


def test_a_file_that_takes_too_long_fails_alone_and_its_actor_lives(
    runner: Runner, settings: Settings, head: RayHead
) -> None:
    Job(runner, settings).extract("a text", "another one")
    before = {actor.pid for actor in stage_actors(head)}
    chunks = Job(runner, settings).extract("one", SLOW, "two")
    assert texts_of(chunks) == ["one", "two"]
    [failure] = [failure for chunk in chunks for failure in chunk.failures]
    assert (failure.object_id, failure.code) == ("obj_1", "took_too_long")
    assert "10 seconds" in failure.message
    assert {actor.pid for actor in stage_actors(head)} == before


def test_a_cancelled_job_ends_the_reading_of_its_file(runner: Runner, settings: Settings, head: RayHead) -> None:
    Job(runner, settings).extract("a text", "another one")
    before, job = reading_processes(head), Job(runner, settings)

    def at_work() -> list[int]:
        return [pid for pid, worked in reading_processes(head).items() if worked > before.get(pid, 60) + 0.3]

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(job.extract, SLOW)
        busy = wait_until(at_work)
        job.stop.set()
        with pytest.raises(CallCancelledError):
            reading.result()
    wait_until(lambda: not set(busy) & reading_processes(head).keys())
    assert texts_of(Job(runner, settings).extract("next")) == ["next"]


def test_a_search_that_is_cancelled_before_it_begins_is_not_made_and_those_behind_it_are(
    runner: Runner, settings: Settings, embeddings: EmbeddingServer
) -> None:
    cancelled = Job(runner, settings)
    with ThreadPoolExecutor(6) as pool:
        # as many as there are threads for searches
        held = [pool.submit(Job(runner, settings).search, f"held {number}") for number in range(4)]
        wait_until(lambda: asked_for_held(embeddings) == 4)
        waiting = pool.submit(cancelled.search, "never")
        # sent, and behind the others
        wait_until(lambda: len(runner._cluster.attached().load._under_way) == 5)
        behind = [pool.submit(Job(runner, settings).search, f"behind {number}") for number in range(2)]
        cancelled.stop.set()
        with pytest.raises(CallCancelledError):
            waiting.result()
        embeddings.release.set()
        assert [search.result().documents for search in held + behind] == [[]] * 6
    assert embeddings.asked["never"] == 0


def test_a_frozen_owner_of_the_vectors_is_away_and_keeps_no_thread(
    runner: Runner, settings: Settings, head: RayHead, embeddings: EmbeddingServer
) -> None:
    job = Job(runner, settings)
    job.extract("a text")
    (owner,) = processes(head, "ray::VectorsActor")
    owner.suspend()
    try:
        with ThreadPoolExecutor(6) as pool:
            searches = [pool.submit(job.search, f"a text {number}") for number in range(6)]
            with pytest.raises(BackendAwayError) as away:
                runner.probe_vectors()
            assert (away.value.backend, away.value.silent) == (Backend.VECTORS, True)
            assert not any(search.done() for search in searches), "the probe waited as long as a search does"
            runner.probe_ray()
            runner.probe_inference()
            for search in searches:
                with pytest.raises(BackendAwayError) as away:
                    search.result()
                assert (away.value.backend, away.value.silent) == (Backend.VECTORS, True)
    finally:
        owner.resume()
    assert [document["text"] for document in job.search("a text").documents] == ["a text"]
    runner.probe_vectors()


@pytest.mark.parametrize("server", ["gcs_server", "raylet"])
def test_a_frozen_ray_keeps_no_thread_and_is_used_again(
    runner: Runner, settings: Settings, head: RayHead, embeddings: EmbeddingServer, server: str
) -> None:
    job = Job(runner, settings)
    job.extract("a text")
    (frozen,) = processes(head, server)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(job.search, "held")
        wait_until(lambda: embeddings.asked["held"] == 1)
        frozen.suspend()
        try:
            if server == "gcs_server":
                with pytest.raises(BackendAwayError) as away:
                    runner.probe_ray()
                assert (away.value.backend, away.value.silent) == (Backend.RAY, True)
                assert away_of(held).silent
                assert away_of(pool.submit(job.search, "again")).backend is Backend.RAY
            else:
                # calls go from process to process: the raylet is needed for new actors only
                embeddings.release.set()
                assert len(held.result().documents) == 1
        finally:
            frozen.resume()
            embeddings.release.set()

    def found() -> ChainResult | None:
        try:
            return job.search("a text")
        except BackendAwayError:
            return None

    assert [document["text"] for document in wait_until(found, 60).documents] == ["a text"]
    runner.probe_ray()


def test_a_killed_raylet_is_the_absence_of_ray_and_no_actors_end(
    runner: Runner, settings: Settings, head: RayHead, embeddings: EmbeddingServer
) -> None:
    """The last one: it ends the cluster."""
    with ThreadPoolExecutor(2) as pool:
        held: list[Future[Any]] = [pool.submit(Job(runner, settings).search, "held")]
        held.append(pool.submit(Job(runner, settings).extract, "held"))
        wait_until(lambda: embeddings.asked["held"] == 2)
        processes(head, "raylet")[0].kill()
        assert [away_of(one).backend for one in held] == [Backend.RAY, Backend.RAY]
    with pytest.raises(BackendAwayError) as away:
        runner.probe_ray()
    assert away.value.backend is Backend.RAY


def away_of(call: "Future[Any]") -> BackendAwayError:
    """How a call ended that found a backend away."""
    error = call.exception(timeout=60)
    assert isinstance(error, BackendAwayError), error
    return error
