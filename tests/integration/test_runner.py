"""The runner on a real Ray cluster of its own: work gets done, survives dead actors, and stops when told to."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import psutil
import pytest

from config.settings import Settings
from core.buckets.bucket import FieldType, StoredBlob, StoredObject
from core.collections.collection import Collection, ExtractorConfig
from core.errors import StageError, StageUnavailableError, UnavailableError
from core.ids import Prefix, random_id
from core.retrievers.parameters_search import TEXT_FEATURE
from core.retrievers.stages import parse_stages
from core.storage.blobs import BlobStore
from core.vault.resolved import NO_SECRETS
from pipelines.cluster import RAY_NAMESPACE
from pipelines.runner import CallCancelledError, CallContext, ChainResult, ChunkResult, Runner
from tests.ray_cluster import RayHead, attached_runner, ray_head, stop_head
from tests.servers import free_port

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LINES = ["Keys are rotated in the vault.", "Bread is baked in an oven.", "Doorbells wake the workers."]
R = TypeVar("R")


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    """A Ray cluster."""
    with ray_head() as head:
        yield head


@pytest.fixture(scope="module")
def settings(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a worker on that cluster."""
    return Settings(
        data=tmp_path_factory.mktemp("data"),
        ray_address=head.address,
        ray_auth_token=head.token,
        stage_actors=2,
        ingestion_chunk_objects=2,
    )


@pytest.fixture(scope="module")
def runner(settings: Settings) -> Runner:
    """A runner that is attached, from a thread of its own as in the worker."""
    return attached_runner(settings)


class Tenant:
    """One namespace's data, and calls for it."""

    def __init__(self, settings: Settings) -> None:
        self.call = CallContext(random_id(Prefix.NAMESPACE), random_id(Prefix.TASK), random_id(Prefix.REQUEST))
        extractor = ExtractorConfig("text_extractor", "v1", {"chunk_size": 100}, {}, (), True)
        self.collection = Collection("col_1", "texts", None, ("bkt_1",), extractor, {}, NOW, NOW)
        self._blobs = BlobStore(settings.blobs)

    def stored(self, object_id: str, text: str, content_type: str = "text/plain") -> StoredObject:
        """An object with one text."""
        key = f"{self.call.namespace_id}/bkt_1/{object_id}/0"
        self._blobs.put(key, text.encode())
        blob = StoredBlob("content", FieldType.TEXT, key, content_type, len(text), "", {})
        return StoredObject(object_id, "bkt_1", None, (blob,), {}, NOW, NOW)

    def extract(self, runner: Runner, *objects: StoredObject) -> list[ChunkResult]:
        """All chunks of an extraction."""
        return list(runner.extract(self.call, self.collection, objects, threading.Event()))

    def search(self, runner: Runner, query: str, limit: int = 100) -> ChainResult:
        """A hybrid search of two stages."""
        search = {"feature_uri": TEXT_FEATURE, "query": "{{INPUT.query}}"}
        stages: list[dict[str, Any]] = [
            {
                "stage_id": "feature_search",
                "parameters": {"searches": [search, {**search, "lexical": True}], "final_top_k": 1000},
            },
            {"stage_id": "sort_relevance"},
        ]
        return self.run(runner, stages, {"query": query}, limit)

    def run(
        self, runner: Runner, stages: list[dict[str, Any]], inputs: dict[str, Any], limit: int = 100
    ) -> ChainResult:
        """A chain of stages."""
        stored = [stage.to_stored() for stage in parse_stages(stages)]
        return runner.run_chain(self.call, stored, inputs, ["col_1"], limit, threading.Event(), NO_SECRETS, 0)


@pytest.fixture
def tenant(settings: Settings) -> Tenant:
    """A namespace nobody else uses."""
    return Tenant(settings)


def test_rays_own_state_shows_a_call_under_its_namespace_and_no_unique_name(
    runner: Runner, tenant: Tenant, head: RayHead
) -> None:
    tenant.extract(runner, tenant.stored("obj_named", LINES[0]))
    tenant.search(runner, "keys")
    deadline = time.monotonic() + 30
    # Ray reports its tasks once a second
    while tenant.call.namespace_id not in (found := set(_task_names(head))):
        assert time.monotonic() < deadline, sorted(found)
        time.sleep(0.1)
    assert not [name for name in found if tenant.call.job_id in name]


def _task_names(head: RayHead) -> list[str]:
    """The names of all tasks, from where Ray's State API and dashboard read them; base Ray has neither of those two."""
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated.gcs_service_pb2 import GetTaskEventsRequest
    from ray.core.generated.gcs_service_pb2_grpc import TaskInfoGcsServiceStub

    with init_grpc_channel(head.address) as channel:
        reply = TaskInfoGcsServiceStub(channel).GetTaskEvents(GetTaskEventsRequest(limit=10_000), timeout=10)
    return [event.task_info.name for event in reply.events_by_task]


def test_objects_are_extracted_in_chunks_and_found(runner: Runner, tenant: Tenant) -> None:
    good = [tenant.stored(f"obj_{number}", line) for number, line in enumerate(LINES)]
    chunks = tenant.extract(
        runner, *good, tenant.stored("obj_bad", "x", "image/png"), tenant.stored("obj_more", LINES[0])
    )
    assert len(chunks) == 3
    counts = {name: count for chunk in chunks for name, count in chunk.document_counts.items()}
    assert counts == {"obj_0": 1, "obj_1": 1, "obj_2": 1, "obj_more": 1}
    assert [failure.code for chunk in chunks for failure in chunk.failures] == ["unsupported_content"]
    found = tenant.search(runner, "How is bread made?", limit=2)
    assert len(found.documents) == 2
    assert found.documents[0]["source_object_id"] == "obj_1"
    assert found.stage_statistics.keys() == {"feature_search", "sort_relevance"}


def test_nothing_to_extract_gives_no_chunk(runner: Runner, tenant: Tenant) -> None:
    assert tenant.extract(runner) == []


def test_a_failed_stage_comes_back_as_itself(runner: Runner, tenant: Tenant) -> None:
    with pytest.raises(StageUnavailableError, match="rerank") as missing:
        tenant.run(runner, [{"stage_id": "rerank"}], {})
    assert missing.value.code == "stage_unavailable"
    with pytest.raises(StageError, match="'query' was not given"):
        tenant.run(
            runner,
            [
                {
                    "stage_id": "feature_search",
                    "parameters": {"searches": [{"feature_uri": TEXT_FEATURE, "query": "{{INPUT.query}}"}]},
                }
            ],
            {},
        )


def answering(runner: Runner) -> list[str]:
    """The probes that are answered."""
    answered = []
    for name in ("probe_ray", "probe_vectors", "probe_inference"):
        with suppress(UnavailableError):
            getattr(runner, name)()
            answered.append(name)
    return answered


def test_the_probes_are_answered(runner: Runner) -> None:
    assert answering(runner) == ["probe_ray", "probe_vectors", "probe_inference"]


def test_a_killed_owner_of_the_vectors_loses_nothing_and_nobody_notices(
    head: RayHead, runner: Runner, tenant: Tenant
) -> None:
    objects = [tenant.stored(f"obj_{number}", f"Text {number}. {LINES[number % 3]}") for number in range(30)]
    killed: list[int] = []
    for _ in runner.extract(tenant.call, tenant.collection, objects, threading.Event()):
        if len(killed) < 2:
            killed.append(kill_actor(head, "ray::VectorsActor"))
    assert len(set(killed)) == 2
    kill_actor(head, "ray::VectorsActor")
    found = tenant.search(runner, "text", limit=1000)
    assert len({document["document_id"] for document in found.documents}) == len(found.documents) == 30


def test_a_killed_stage_actor_is_back_for_the_same_call(head: RayHead, runner: Runner, tenant: Tenant) -> None:
    objects = [tenant.stored(f"obj_{number}", LINES[number % 3]) for number in range(12)]
    chunks: list[ChunkResult] = []
    for chunk in runner.extract(tenant.call, tenant.collection, objects, threading.Event()):
        if not chunks:
            kill_actor(head, "ray::StageActor")
        chunks.append(chunk)
    assert sum(len(chunk.documents) for chunk in chunks) == 12


def test_a_cancelled_chain_stops_at_once(runner: Runner, tenant: Tenant) -> None:
    should_stop = threading.Event()
    should_stop.set()
    stored = [stage.to_stored() for stage in parse_stages([{"stage_id": "limit"}])]
    with pytest.raises(CallCancelledError):
        runner.run_chain(tenant.call, stored, {}, ["col_1"], 1, should_stop, NO_SECRETS, 0)


# when its calls have hardly left, and when they have begun
@pytest.mark.parametrize("pause", [0.0, 0.001, 0.002, 0.005, 0.01, 0.1])
def test_a_cancelled_extraction_frees_its_actors(runner: Runner, tenant: Tenant, pause: float) -> None:
    endless = [tenant.stored(f"obj_{number}", "\n\n".join(LINES * 400)) for number in range(8)]
    should_stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: list(runner.extract(tenant.call, tenant.collection, endless, should_stop)))
        wait_until(running.running)
        time.sleep(pause)
        should_stop.set()
        with pytest.raises(CallCancelledError):
            running.result()
    # this waits behind whatever the cancelled calls still do, which is at most one small piece of work each
    [chunk] = tenant.extract(runner, tenant.stored("obj_next", LINES[0]))
    assert chunk.document_counts == {"obj_next": 1}
    assert len(tenant.search(runner, "keys").documents) == 1


def test_a_failed_call_that_nobody_waits_for_any_more_is_not_logged_by_ray(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    runner.attach()
    actor = ray.get_actor("stages-0", namespace=RAY_NAMESPACE)
    unread = actor.extract.remote(None, None, None)
    time.sleep(1)
    del unread
    time.sleep(1)
    assert "Unhandled error" not in caplog.text


def test_a_dead_address_is_unavailable_without_a_wait(settings: Settings) -> None:
    nowhere = Runner(settings.model_copy(update={"ray_address": f"127.0.0.1:{free_port()}"}))
    with pytest.raises(UnavailableError, match="does not answer"):
        nowhere.attach()
    assert answering(nowhere) == []


def test_actors_of_other_settings_are_not_used(runner: Runner, settings: Settings) -> None:
    other = Runner(settings.model_copy(update={"embedder": "hub:/nowhere"}))
    with pytest.raises(UnavailableError, match="other settings"):
        other.attach()


def test_a_restarted_ray_is_found_again(head: RayHead, runner: Runner, tenant: Tenant) -> None:
    tenant.extract(runner, tenant.stored("obj_1", LINES[0]))
    endless = [tenant.stored(f"obj_{number}", "\n\n".join(LINES * 400)) for number in range(8)]
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(tenant.extract, runner, *endless)
        wait_until(under_way.running)
        stop_head(head.process)
        with pytest.raises(UnavailableError):
            under_way.result()
    with pytest.raises(UnavailableError):
        tenant.search(runner, "keys")
    assert answering(runner) == []
    port = int(head.address.rpartition(":")[2])
    with ray_head(port):

        def found() -> ChainResult | None:
            try:
                return tenant.search(runner, "keys")
            except UnavailableError:
                return None

        assert len(wait_until(found, seconds=120).documents) == 1
        assert answering(runner) == ["probe_ray", "probe_vectors", "probe_inference"]


def kill_actor(head: RayHead, title: str) -> int:
    """SIGKILL the actor process with this title, once it is there; its process id."""

    def found() -> psutil.Process | None:
        for child in psutil.Process(head.process.pid).children(recursive=True):
            try:
                if child.name().startswith(title):
                    return child
            except psutil.Error:
                continue
        return None

    actor = wait_until(found)
    os.kill(actor.pid, signal.SIGKILL)
    wait_until(lambda: not actor.is_running() or actor.status() == psutil.STATUS_ZOMBIE)
    return actor.pid


def wait_until(condition: Callable[[], R | None], seconds: float = 30.0) -> R:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.02)
    return value
