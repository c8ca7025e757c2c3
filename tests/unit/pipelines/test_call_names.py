"""Each call to Ray is named by its namespace alone, and what a call makes has ids of its namespace's own."""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Event
from typing import Any, cast

import numpy as np
import pytest

from config.settings import Settings
from core.buckets.bucket import StoredObject
from core.clock import now
from core.collections.collection import Collection, ExtractorConfig
from core.errors import StageError
from core.retrievers.stages import parse_stages
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.store import collection_name
from core.vault.resolved import NO_SECRETS, ResolvedSecret, ResolvedSecrets
from core.vault.secret import MAX_VALUE_BYTES
from pipelines.actors import CallContext, ModelAccess, StageActor
from pipelines.calls import Calls
from pipelines.cluster import Attachment, Cluster
from pipelines.extractors.extractor import ExtractionContext
from pipelines.extractors.text import _document, _point
from pipelines.llm.providers import LlmSettings
from pipelines.load import Load
from pipelines.ray_probe import RaySession
from pipelines.runner import Runner, actor_config
from tests.tiny_model import make_tiny_model

CALL = CallContext("ns_1", "task_1", "req_1")


def collection() -> Collection:
    extractor = ExtractorConfig("text_extractor", "v1", {}, {}, (), True)
    return Collection("col_1", "c", None, ("bkt_1",), extractor, {}, now(), now())


def stored() -> StoredObject:
    return StoredObject("obj_1", "bkt_1", None, (), {"text": "A text."}, now(), now())


class Recorded:
    """A Ray cluster of which only the names of calls and their arguments are seen."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.arguments: list[Any] = []

    def __getattr__(self, _: str) -> "Recorded":
        return self

    def options(self, **options: Any) -> "Recorded":
        self.names.append(options["name"])
        return self

    def remote(self, *arguments: Any) -> object:
        self.arguments += arguments
        return object()

    def attached(self) -> Attachment:
        return Attachment((self,), None, RaySession(b"", "", ("", 0)), Load((self,)))

    def watch(self, _: Attachment) -> "Recorded":
        return self

    def look(self) -> None:
        return

    def outcome(self, future: "Future[Any]") -> Any:
        return future.result()


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Runner, Recorded]:
    """A runner on such a cluster."""
    runner, cluster = Runner(Settings(_env_file=None, data=tmp_path)), Recorded()
    monkeypatch.setattr(runner, "_calls", Calls(cast(Cluster, cluster)))
    for module in ("calls", "load"):
        monkeypatch.setattr(f"pipelines.{module}.ended", lambda running, _=0: running)
        monkeypatch.setattr(f"pipelines.{module}.result_of", lambda *_: None)
    return runner, cluster


def secrets_of(count: int, size: int) -> ResolvedSecrets:
    names = [f"s{number}" for number in range(count)]
    return ResolvedSecrets({name: ResolvedSecret(name, "x" * size) for name in names})


def test_no_secret_is_in_an_argument_that_ray_would_store(recorded: tuple[Runner, Recorded]) -> None:
    runner, cluster = recorded
    stages = [{"config": {"stage_id": "limit"}}]
    runner.run_chain(CALL, stages, {}, ["col_1"], 10, Event(), secrets_of(3, MAX_VALUE_BYTES), 0)
    sizes = [len(pickle.dumps(argument)) for argument in cluster.arguments]
    # what is larger goes into the object store, and from there to a disk
    assert sum(sizes) > 3 * MAX_VALUE_BYTES
    assert max(sizes) < 100 * 1024
    with pytest.raises(StageError, match="together"):
        runner.run_chain(CALL, stages, {}, ["col_1"], 10, Event(), secrets_of(129, MAX_VALUE_BYTES), 0)


def test_calls_of_the_runner_are_named_by_their_namespace(recorded: tuple[Runner, Recorded]) -> None:
    runner, cluster = recorded
    runner.run_chain(CALL, [{"config": {"stage_id": "limit"}}], {}, ["col_1"], 10, Event(), NO_SECRETS, 0)
    list(runner.extract(CALL, collection(), [stored()], Event()))
    runner.drop_vectors(CALL, Event())
    # nothing unique: Ray keeps each distinct name for ever
    assert cluster.names == ["ns_1"] * 3


@pytest.fixture
def actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StageActor, list[str]]]:
    """A stage actor outside Ray, and the names of its calls to the vectors."""
    vectors, names = EdgeVectorStore(tmp_path / "vectors"), list[str]()

    def proxy(_: object, name: str) -> EdgeVectorStore:
        names.append(name)
        return vectors

    monkeypatch.setattr("pipelines.actors.VectorsProxy", proxy)
    model = tmp_path / "model"
    model.mkdir()
    settings = Settings(_env_file=None, data=tmp_path, embedder=f"hub:{make_tiny_model(model)}")
    yield StageActor(actor_config(settings), None), names
    vectors.close()


def test_calls_of_an_actor_to_the_vectors_are_named_by_their_namespace(actor: tuple[StageActor, list[str]]) -> None:
    stages, names = actor
    access = ModelAccess(LlmSettings(), 0)
    filtering = {"stage_id": "attribute_filter", "parameters": {"field": "topic", "value": "keys"}}
    stages.run_chain(CALL, [stage.to_stored() for stage in parse_stages([filtering])], {}, ["col_1"], 10, access)
    stages.extract(CALL, collection(), [stored()])
    stages.drop_vectors(CALL)
    stages.rebuild_index(CALL, None)
    assert names == ["ns_1"] * 4


def test_the_self_test_stays_in_a_namespace_of_its_own(actor: tuple[StageActor, list[str]], tmp_path: Path) -> None:
    stages, names = actor
    stages.self_test()
    own = "ns_selftest16"
    assert set(names) == {own}
    assert [path.name for path in (tmp_path / "vectors").iterdir()] == [collection_name(own)]


def test_the_same_object_in_two_namespaces_gives_other_documents_and_points() -> None:
    make: Callable[[str], Any] = lambda name: ExtractionContext(name, collection(), None, None, None, lambda: None)  # type: ignore[arg-type] # noqa: E731
    documents = {name: _document(stored(), make(name), {}, 0, "A text.") for name in ("ns_1", "ns_2")}
    assert documents["ns_1"]["document_id"] != documents["ns_2"]["document_id"]
    vector = np.zeros(4, np.float32)
    first, second = (_point(name, documents["ns_1"], vector) for name in documents)
    assert first.id != second.id
    assert (first.payload["namespace_id"], second.payload["namespace_id"]) == ("ns_1", "ns_2")
