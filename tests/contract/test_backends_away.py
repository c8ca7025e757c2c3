"""Each adapter to a backend tells one that is away from a call that is at fault, and comes back in time.

The table is made of every adapter and every absence that `tests/away_server.py` can play. What a call may
take is made short here; that each call ends is watched from outside. All adapters meet an absence side by side, for
most of that is waiting.
"""

import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from config.settings import Settings
from core.backends.backend import Backend
from core.errors import BackendAwayError, KeystageError, UnavailableError
from core.ids import Prefix, random_id
from core.storage.blobs import BlobStore
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.server import connect_qdrant
from core.storage.vectors.store import Point, VectorSearch
from core.vault.kek import KeyEncryption, Wrapped
from pipelines.actors import StageActor
from pipelines.embedders.openai_compatible import OpenAICompatibleEmbedder
from pipelines.runner import actor_config
from tests.away_server import (
    BAD_GATEWAY,
    BUSY,
    DENIED,
    FAILED,
    GATEWAY_TIMEOUT,
    PROXY_PAGE,
    UNAVAILABLE,
    AwayServer,
    Conduct,
    Reply,
    Request,
    away_server,
    in_front_of,
)
from tests.contract.test_key_encryption import at
from tests.patience import all_came_to, came_to

SHORT = 2.5
"""Seconds that stand for every deadline of a call as a whole."""
BUCKET = "bucket-of-tests"
NO_COLLECTION = Reply(200, b'{"result": {"exists": false}, "status": "ok", "time": 0.0}')


@dataclass(frozen=True)
class Adapter:
    """One kind of call of one adapter."""

    backend: Backend
    open: Callable[[str], Any]
    """the adapter for the server at a URL"""
    call: Callable[[Any], object]
    refusal: type[KeystageError] = UnavailableError
    """what a 403 is"""
    failure: type[KeystageError] = UnavailableError
    """what a 500 is"""


def _qdrant(call: Callable[[Any, str], object]) -> Adapter:
    namespace = random_id(Prefix.NAMESPACE)
    return Adapter(Backend.VECTORS, lambda url: connect_qdrant(url, None), lambda store: call(store, namespace))


def _blobs(call: Callable[[BlobStore], object]) -> Adapter:
    return Adapter(Backend.BLOBS, lambda _: BlobStore(f"s3://{BUCKET}"), call, failure=BackendAwayError)


def _keys(provider: str, call: Callable[[KeyEncryption], object]) -> Adapter:
    return Adapter(Backend.KEY_SERVICE, lambda url: at(provider, url), call, BackendAwayError, BackendAwayError)


def _unwrap(keys: KeyEncryption) -> object:
    return keys.unwrap(Wrapped(f"{keys.provider}:x", b"vault:v1:AAAA"), "int_a", 1)


def _embedder(texts: int) -> Adapter:
    def opened(url: str) -> OpenAICompatibleEmbedder:
        return OpenAICompatibleEmbedder(f"{url}/v1", "a-model", SecretStr("sk-never-shown"), SHORT)

    return Adapter(Backend.EMBEDDER, opened, lambda embedder: embedder.embed(["keys"] * texts), BackendAwayError)


def _point(namespace: str) -> Point:
    return Point("7", np.ones(4, np.float32), document_vector("keys"), {"namespace_id": namespace, "text": "keys"})


SEARCHES = [VectorSearch(document_vector("keys"), limit=1)]
ADAPTERS = {
    "qdrant search": _qdrant(lambda store, namespace: store.search(namespace, SEARCHES, 1)),
    "qdrant upsert": _qdrant(lambda store, namespace: store.upsert(namespace, [_point(namespace)])),
    "qdrant ensure": _qdrant(lambda store, namespace: store.ensure(namespace, 4)),
    "qdrant drop": _qdrant(lambda store, namespace: store.drop(namespace)),
    "s3 get": _blobs(lambda blobs: blobs.get("a/b")),
    "s3 put": _blobs(lambda blobs: blobs.put("a/b", b"small")),
    "s3 put of much": _blobs(lambda blobs: blobs.put("a/b", bytes(6 * 1024 * 1024))),
    "s3 list": _blobs(lambda blobs: list(blobs.list_keys("a/"))),
    "s3 delete": _blobs(lambda blobs: blobs.delete("a/b")),
    "s3 delete of many": _blobs(lambda blobs: blobs.delete_many(["a/b", "a/c"])),
    "transit unwrap": _keys("transit", _unwrap),
    "aws unwrap": _keys("aws", _unwrap),
    "google unwrap": _keys("google", _unwrap),
    "embed a query": _embedder(1),
    "embed a batch": _embedder(50),
}
PROBES = {
    "qdrant": Adapter(Backend.VECTORS, lambda url: connect_qdrant(url, None), lambda store: store.probe()),
    "s3": _blobs(lambda blobs: blobs.probe()),
    "transit": _keys("transit", lambda keys: keys.probe()),
    "aws": _keys("aws", lambda keys: keys.probe()),
    "google": _keys("google", lambda keys: keys.probe()),
}

# the clients keep connections, which nobody here closes
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="how a full queue is met is the kernel's own")
ABSENCES = [
    pytest.param(Conduct.REFUSES, False, id="refuses"),
    pytest.param(Conduct.UNREACHABLE, False, id="unreachable", marks=linux_only),
    pytest.param(Conduct.RESETS, False, id="resets"),
    pytest.param(Conduct.BREAKS_OFF, False, id="breaks off"),
    pytest.param(Conduct.SILENT, True, id="silent"),
    pytest.param(Conduct.TRICKLES, True, id="trickles"),
    pytest.param(UNAVAILABLE, False, id="503"),
    pytest.param(PROXY_PAGE, False, id="503 as HTML"),
    pytest.param(BAD_GATEWAY, False, id="502"),
    pytest.param(GATEWAY_TIMEOUT, True, id="504"),
]
"""Each absence, and whether the call may have been too much."""


def whatever(request: Request) -> Reply:
    """An answer of some length, for it to be broken off; of what is stored nothing but a head, as of S3."""
    if request.method == "PUT":
        return Reply(200, b"", {"ETag": '"x"'})
    body = json.dumps({"result": {"exists": True}, "data": {"a": "b"}, "nothing": "x" * 200}).encode()
    return Reply(200, body, {"Content-Type": "application/json"})


@pytest.fixture(scope="module", autouse=True)
def _little_to_collect() -> Iterator[None]:
    """The collection after each test looks at what that test made, not at every module that was imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def server() -> Iterator[AwayServer]:
    """A server that nobody can work with: it is here to be away."""
    with away_server(whatever) as running:
        running.trickle_seconds = 0.2
        yield running
    gc.collect()


@pytest.fixture(autouse=True)
def _short_and_local(monkeypatch: pytest.MonkeyPatch, server: AwayServer) -> None:
    """Deadlines that a test can wait for, and credentials that open nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT", server.url)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    for place in (
        "storage.vectors.server._READ_SECONDS",
        "storage.vectors.server._WRITE_SECONDS",
        "storage.vectors.server._PROBE_SECONDS",
        "storage.object_stores._ASK_SECONDS",
        "storage.object_stores._READ_SECONDS",
        "storage.object_stores._PART_SECONDS",
        "vault.kek_remote.SECONDS",
    ):
        monkeypatch.setattr(f"core.{place}", SHORT)
    monkeypatch.setattr("pipelines.embedders.openai_compatible._FEW_OF_MANY", 1)
    monkeypatch.setattr("core.vault.kek_remote._AGAIN_WITHIN_SECONDS", SHORT / 6)
    # the wait for a connection is bounded by itself, and told from the wait for an answer
    monkeypatch.setattr("core.storage.vectors.http.CONNECT_SECONDS", SHORT / 3)
    monkeypatch.setattr("core.storage.object_stores.CONNECT_SECONDS", SHORT / 3)
    monkeypatch.setattr("core.vault.kek_vault_transit.CONNECT_SECONDS", SHORT / 3)
    monkeypatch.setattr("core.vault.kek_aws.CONNECT_SECONDS", SHORT / 3)
    monkeypatch.setattr("core.vault.kek_google.CONNECT_SECONDS", SHORT / 3)
    monkeypatch.setattr("pipelines.embedders.openai_compatible.CONNECT_SECONDS", SHORT / 3)


def all_meet(adapters: Mapping[str, Adapter], server: AwayServer, conduct: Conduct | Reply) -> dict[str, Any]:
    """What a call of each came to, all of them made side by side."""
    calls = [partial(adapter.call, adapter.open(server.url)) for adapter in adapters.values()]
    server.be(conduct)
    return dict(zip(adapters, all_came_to(calls), strict=True))


def absences(outcomes: Mapping[str, Any]) -> dict[str, Any]:
    """Of each its backend and whether it was silent; what is no absence, as it is."""
    return {
        name: (outcome.backend, outcome.silent) if isinstance(outcome, BackendAwayError) else outcome
        for name, outcome in outcomes.items()
    }


@pytest.mark.parametrize(("conduct", "silent"), ABSENCES)
def test_a_backend_that_is_away_is_told(server: AwayServer, conduct: Conduct | Reply, silent: bool) -> None:
    found = absences(all_meet(ADAPTERS, server, conduct))
    assert found == {name: (adapter.backend, silent) for name, adapter in ADAPTERS.items()}


def test_a_busy_backend_is_not_away(server: AwayServer) -> None:
    found = all_meet(ADAPTERS, server, BUSY)
    assert [name for name, error in found.items() if not isinstance(error, UnavailableError)] == []
    assert [name for name, error in found.items() if isinstance(error, BackendAwayError)] == []


@pytest.mark.parametrize(("reply", "which"), [(DENIED, "refusal"), (FAILED, "failure")])
def test_a_refusal_and_a_failure_are_what_the_adapter_says(server: AwayServer, reply: Reply, which: str) -> None:
    found = {name: type(error) for name, error in all_meet(ADAPTERS, server, reply).items()}
    assert found == {name: getattr(adapter, which) for name, adapter in ADAPTERS.items()}


@pytest.mark.parametrize(("conduct", "_silent"), ABSENCES)
def test_a_probe_says_that_it_is_away(server: AwayServer, conduct: Conduct | Reply, _silent: bool) -> None:
    found = all_meet(PROBES, server, conduct)
    assert {name: getattr(error, "backend", error) for name, error in found.items()} == {
        name: probe.backend for name, probe in PROBES.items()
    }
    assert [name for name, error in found.items() if not isinstance(error, BackendAwayError)] == []


@pytest.mark.parametrize("reply", [DENIED, BUSY, Reply(404, b"none"), Reply(401, b"{}")])
def test_to_a_probe_each_answer_is_one(server: AwayServer, reply: Reply) -> None:
    asked = {name: PROBES[name] for name in ("qdrant", "s3")}
    assert all_meet(asked, server, reply) == dict.fromkeys(asked)


def test_to_a_probe_a_busy_key_service_has_answered(server: AwayServer) -> None:
    asked = {name: PROBES[name] for name in ("transit", "aws", "google")}
    assert all_meet(asked, server, BUSY) == dict.fromkeys(asked)


def stage_actor(server: AwayServer, data: Path) -> StageActor:
    """A stage actor outside Ray whose vectors and embeddings are the server's."""
    settings = Settings(
        _env_file=None,
        data=data,
        qdrant_url=server.url,
        embedder="openai:a-model",
        openai_base_url=f"{server.url}/v1",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.actors.configure_logs", lambda *_: None)
        return StageActor(actor_config(settings), None)


@pytest.mark.parametrize("reply", [NO_COLLECTION, DENIED, BUSY, Reply(404, b"none"), FAILED])
def test_a_worker_takes_any_answer_of_qdrant_for_one(server: AwayServer, tmp_path: Path, reply: Reply) -> None:
    actor = stage_actor(server, tmp_path)
    # a server that was away when the worker began, or has lost all, holds nothing of a self-test
    server.be(reply)
    assert actor.vectors_answer()


@pytest.mark.parametrize("reply", [BUSY, FAILED, Reply(404, b'{"error": "no such model"}'), Reply(400, b"{}")])
def test_a_worker_takes_any_answer_about_a_text_for_one(server: AwayServer, tmp_path: Path, reply: Reply) -> None:
    actor = stage_actor(server, tmp_path)
    server.be(reply)
    asked = len(server.requests)
    assert actor.inference_answers()
    assert len(server.requests) == asked + 1


@pytest.mark.parametrize("conduct", [Conduct.REFUSES, Conduct.SILENT, UNAVAILABLE])
def test_a_worker_is_told_of_both_that_they_are_away(
    server: AwayServer, tmp_path: Path, conduct: Conduct | Reply
) -> None:
    actor = stage_actor(server, tmp_path)
    server.be(conduct)
    errors = all_came_to([actor.vectors_answer, actor.inference_answers])
    assert [type(error) for error in errors] == [BackendAwayError, BackendAwayError], errors
    assert [error.backend for error in errors] == [Backend.VECTORS, Backend.EMBEDDER]


@pytest.mark.parametrize(
    "said",
    [
        "Service internal error: The replica set for shard 2 on peer 1 does not have enough active replicas",
        "Service internal error: 1 of 1 read operations failed: Tonic status error: status: Unavailable, message: x",
        "Service internal error: Waiting for consensus operation commit failed. Timeout set at: 10 seconds",
    ],
)
def test_a_qdrant_server_that_lacks_a_part_of_its_cluster_is_away(server: AwayServer, said: str) -> None:
    adapter = ADAPTERS["qdrant search"]
    opened = adapter.open(server.url)
    server.be(Reply(500, json.dumps({"status": {"error": said}}).encode()))
    assert isinstance(came_to(lambda: adapter.call(opened)), BackendAwayError)


def test_a_qdrant_server_that_could_not_end_a_call_in_time_blames_the_call(server: AwayServer) -> None:
    adapter = ADAPTERS["qdrant search"]
    opened = adapter.open(server.url)
    server.be(Reply(408, b'{"status": {"error": "Timeout error: Operation timed out after 60 seconds"}}'))
    assert type(came_to(lambda: adapter.call(opened))) is UnavailableError


def test_a_name_without_an_address_is_a_backend_that_is_away() -> None:
    for adapter in (ADAPTERS["qdrant search"], ADAPTERS["transit unwrap"], ADAPTERS["embed a query"]):
        error = came_to(partial(adapter.call, adapter.open("http://nowhere.invalid:1")))
        assert isinstance(error, BackendAwayError), repr(error)
        assert not error.silent


@contextmanager
def s3() -> Iterator[str]:
    """A server that speaks S3, and has one bucket."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        url = f"http://{host}:{port}"
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield url
    finally:
        moto.stop()


@pytest.fixture
def blobs(server: AwayServer) -> Iterator[BlobStore]:
    """A place for blobs that works, behind the server that can be away."""
    with ExitStack() as stack:
        server.handler = in_front_of(stack.enter_context(s3()))
        yield BlobStore(f"s3://{BUCKET}")


def test_blobs_are_kept_in_s3_and_found_again(blobs: BlobStore, server: AwayServer) -> None:
    blobs.put("a/b/small", b"small")
    blobs.put("a/c", bytes(range(256)) * 48 * 1024)
    assert blobs.get("a/b/small") == b"small"
    assert blobs.get("a/c") == bytes(range(256)) * 48 * 1024
    assert sorted(blobs.list_keys("a/")) == ["a/b/small", "a/c"]
    assert blobs.list_folders("a/") == ["b"]
    blobs.probe()
    server.be(Conduct.REFUSES)
    assert isinstance(came_to(lambda: blobs.get("a/c")), BackendAwayError)
    server.be(Conduct.WORKS)
    blobs.delete_many(["a/b/small", "a/c", "a/absent"])
    assert list(blobs.list_keys("a/")) == []


def test_a_slow_link_takes_a_large_blob_longer_than_one_part_may_take(
    server: AwayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.storage.object_stores._PART_SECONDS", 4.0)
    # 80 pieces a part of 5 MiB, two parts at once: over 2 s for each, and four parts of them
    server.trickle_seconds = 0.025
    with s3() as url:
        server.handler = in_front_of(url)
        blobs = BlobStore(f"s3://{BUCKET}")
        server.be(Conduct.TAKES_SLOWLY)
        content = bytes(20 * 1024 * 1024)
        blobs.put("a/large", content)
        server.be(Conduct.WORKS)
        assert blobs.get("a/large") == content


def test_a_refusal_that_passes_at_once_is_not_noticed(blobs: BlobStore, server: AwayServer) -> None:
    refused: list[str] = []
    works = server.handler

    def refuse_once(request: Request) -> Reply:
        if request.target not in refused:
            refused.append(request.target)
            return Reply(503, b"<Error><Code>SlowDown</Code></Error>")
        return works(request)

    server.handler = refuse_once
    blobs.put("a/b", b"small")
    assert blobs.get("a/b") == b"small"
