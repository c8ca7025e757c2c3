"""No sink of a whole running stack has a secret's value in any encoding, whatever was done with it; and the search that
says so finds values where the masking is taken away."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pipelines.chain
import workers.secrets
from config.settings import Settings
from core.bootstrap import build_services
from core.ids import point_id
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.store import Point
from core.vault.redaction import Redactor
from pipelines.embedders.minilm import builtin_embedder
from tests.e2e.canary.bench import Bench
from tests.e2e.canary.cases import COUNT, PROVIDERS, Case, forty_cases
from tests.e2e.canary.outside import echo_service, rude_provider
from tests.e2e.canary.search import Sink, files, mongo, processes, redis, search
from tests.e2e.canary.story import OWN_HEADER, SECRETS, Story
from tests.e2e.canary.values import MARK, MARKS, Encoding, canary, forms
from tests.llm_provider import LlmServer, llm_server
from tests.receiver import TestReceiver, plain, receiver
from tests.servers import own_database
from tests.stack import RunningStack, processes_of, running_stack, stderr_file, stdout_file

_CONTROL = "harmlessword" + os.urandom(6).hex()
"""Stands in the one document, and is no secret: it has to be found where documents lie."""


@pytest.fixture
def provider() -> Iterator[LlmServer]:
    """All three providers of models."""
    with llm_server(rude_provider) as server:
        yield server


@pytest.fixture
def service() -> Iterator[str]:
    """The service that api_call asks."""
    with echo_service() as url:
        yield url


@pytest.fixture
def hooks() -> Iterator[TestReceiver]:
    """The customer's endpoint for webhooks."""
    with receiver(plain(200)) as listening:
        yield listening


def test_every_form_of_every_value_has_a_mark_that_the_search_finds() -> None:
    for number in range(COUNT):
        made = canary(number)
        for encoding in Encoding:
            for form in forms(made.value, encoding):
                assert any(mark in form for mark in MARKS), encoding
                found = search([Sink("test", "one", b"before" + form + b"after")], [made])
                assert encoding in {hit.encoding for hit in found.hits}
    assert search([Sink("test", "none", b"nothing to see")], [canary(0)]).hits == []


def test_no_sink_has_a_secret_in_any_encoding(
    tmp_path: Path, provider: LlmServer, service: str, hooks: TestReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = forty_cases()
    assert len(cases) == COUNT
    data = tmp_path / "data"
    with running_stack(data, _environment(provider)) as stack:
        story = Story(data, stack.api_url, service)
        _live(story, cases, hooks)
        running = processes_of(stack.data, stack.ray_directory)
        sinks = [*_live_sinks(stack), *processes("at the end", running)]
        story.close()
    sinks += [*story.said, *_hooks_of(hooks), *files("data", data)]
    sinks += [Sink("log", file.name, file.read_bytes()) for file in (stdout_file(data), stderr_file(data))]
    _assert_that_the_search_saw_what_it_should(sinks, story)
    verdict = search(sinks, story.values)
    with capsys.disabled():
        print(
            f"\ncanaries = {COUNT}, encodings = {len(Encoding)}, sinks = {verdict.sinks}, "
            f"bytes = {verdict.bytes}, hits = {len(verdict.hits)}"
        )
    assert verdict.hits == []


@pytest.fixture
def bench(mongo_url: str, redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    """A worker without its stack, on a database of its own."""
    key = "k1:" + base64.urlsafe_b64encode(bytes(32)).decode()
    named: dict[str, Any] = dict.fromkeys(("vault_keys", "key_peppers", "audit_keys"), key)
    own_url = own_database(mongo_url)
    services = build_services(Settings(_env_file=None, data=tmp_path, mongo_url=own_url, redis_url=redis_url, **named))
    organization = services.organizations.create("Canaries", "c@example.com", "enterprise")
    scope = services.namespaces.create(organization.scope, "default").scope
    embedder, vectors = builtin_embedder(), EdgeVectorStore(tmp_path / "vectors")
    vectors.ensure(scope.namespace_id, embedder.dimension)
    payload = {"namespace_id": scope.namespace_id, "collection_id": "col_bench", "document_id": "doc_1", "text": "x"}
    point = Point(point_id("doc_1"), embedder.embed(["x"])[0], document_vector("x"), payload)
    vectors.upsert(scope.namespace_id, [point])
    yield Bench(services, scope, vectors, embedder)
    vectors.close()
    services.close()


def test_the_same_search_goes_red_where_nothing_is_masked(
    bench: Bench, service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    masked = bench.hits_of_an_echo(service)
    for masking in (workers.secrets, pipelines.chain):
        monkeypatch.setattr(masking, "Redactor", lambda _: Redactor(()))
    unmasked = bench.hits_of_an_echo(service)
    with capsys.disabled():
        print(f"\nwith redaction: hits = {len(masked)}; without it: hits = {len(unmasked)}")
    assert masked == []
    assert {hit.encoding for hit in unmasked} == set(Encoding)
    assert {hit.kind for hit in unmasked} == {"mongo"}


def test_a_fault_with_a_value_in_its_traceback_is_logged_without_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.hits_of_a_fault() == []
    for masking in (workers.secrets, pipelines.chain):
        monkeypatch.setattr(masking, "Redactor", lambda _: Redactor(()))
    assert {hit.kind for hit in bench.hits_of_a_fault()} == {"log"}


def _environment(provider: LlmServer) -> dict[str, str]:
    urls = {f"KEYSTAGE_{name.upper()}_BASE_URL": provider.base_url(name) for name in PROVIDERS}
    return {
        **urls,
        "KEYSTAGE_EGRESS_ALLOW_CIDRS": "127.0.0.0/8",
        "KEYSTAGE_LOG_LEVEL": "DEBUG",
        "KEYSTAGE_INTERACTIVE_SLOTS": "8",
        # an unreadable provider is asked again for this long
        "KEYSTAGE_LLM_TIMEOUT_SECONDS": "3",
    }


def _live(story: Story, cases: list[Case], hooks: TestReceiver) -> None:
    """All that happens to the secrets."""
    story.listen(hooks.url, COUNT + 1)
    story.ingest(f"The tides and the {_CONTROL}.")
    for number, case in enumerate(cases):
        story.store(number, case)
    story.blunder(COUNT)
    retrievers = {number: story.retriever(number, case) for number, case in enumerate(cases) if case.stages}
    _use(
        story,
        {number: case for number, case in enumerate(cases) if case.stages and not case.after_deletion},
        retrievers,
    )
    rotated = {number: case for number, case in enumerate(cases) if case.rotated}
    for number, case in rotated.items():
        story.replace(number, case)
    _use(story, rotated, retrievers)
    story.operator("vault", "rotate", "--data-keys", "--org", story.organization["organization_id"])
    for number in rotated:
        story.done("POST", f"{SECRETS}/canary_{number:02}/rollback", {"version": 1})
    _use(story, rotated, retrievers)
    story.look_around()
    for number in range(COUNT):
        story.done("DELETE", f"{SECRETS}/canary_{number:02}")
    _use(story, {number: case for number, case in enumerate(cases) if case.after_deletion}, retrievers)
    story.look_around()


def _use(story: Story, cases: dict[int, Case], retrievers: dict[int, str]) -> None:
    """Execute the cases' retrievers, all at once, and see that each ends as it must."""
    started = {number: story.start(retrievers[number]) for number in cases}
    ended = {number: story.end(retrievers[number], started[number]) for number in cases}
    wrong = {number: (cases[number], found) for number, found in ended.items() if found != cases[number].outcome}
    assert not wrong, wrong


def _live_sinks(stack: RunningStack) -> Iterator[Sink]:
    yield from mongo(stack.ready["mongo_url"])
    yield from redis(stack.ready["redis_url"])
    yield from files("ray", stack.ray_directory)


def _hooks_of(hooks: TestReceiver) -> Iterator[Sink]:
    for number, request in enumerate(hooks.requests):
        headers = dict(request.headers)
        # it is meant for nobody else
        assert MARK in headers.pop(OWN_HEADER)
        yield Sink("webhook", str(number), str(headers).encode() + request.body)


def _assert_that_the_search_saw_what_it_should(sinks: list[Sink], story: Story) -> None:
    """What is harmless and must be there is found, so that nothing was searched that is empty or unreadable."""
    task = next(iter(story.tasks))
    wanted = [
        ("http", "", _CONTROL),
        ("mongo", "executions", _CONTROL),
        ("data", "vectors/", _CONTROL),
        ("data", "blobs/", _CONTROL),
        ("data", "redis/", task),
        ("data", "logs/worker", task),
        ("data", "logs/api", "secrets.create"),
        ("ray", "logs/worker-", "stage.skipped"),
        ("webhook", "", task),
        ("command", "audit export", "canary_00"),
        ("http", "GET /metrics", "keystage_"),
        ("process", "environ", "KEYSTAGE_OPENAI_BASE_URL"),
        ("process", "cmdline", "python"),
    ]
    for kind, part, text in wanted:
        among = [sink for sink in sinks if sink.kind == kind and part in sink.name]
        is_there = any(text.encode() in sink.content for sink in among)
        # told by hand: pytest would write all sinks out
        assert is_there, f"{text} is in none of {[sink.name for sink in among]}"
