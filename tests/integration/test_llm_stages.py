"""Stages that ask models, against a server that speaks the providers' protocols: whose key, how often, what price."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from core.credits.prices import llm_price
from core.errors import SecretUnusableError, StageError
from core.ids import Prefix, point_id, random_id
from core.retrievers.parameters_search import TEXT_FEATURE
from core.retrievers.secret_places import with_default_credentials
from core.retrievers.stages import parse_stages
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.store import Point
from core.vault.resolved import NO_SECRETS, ResolvedSecret, ResolvedSecrets
from pipelines.actors import ModelAccess
from pipelines.chain import ChainResult, run_stages
from pipelines.embedders.embedder import Embedder
from pipelines.embedders.minilm import builtin_embedder
from pipelines.llm.access import Llm
from pipelines.llm.errors import LlmError, LlmFailure
from pipelines.llm.provider import LlmRequest
from pipelines.llm.providers import LlmSettings, ProviderPool, ProviderSettings
from pipelines.remote import CallCancelledError
from pipelines.stage import StageContext
from tests.llm_provider import INPUT_TOKENS, OUTPUT_TOKENS, Asked, LlmServer, Reply, llm_server, says
from tests.security_page import LLM_STAGE

PROVIDERS = ("openai", "anthropic", "google")
PLATFORM = {name: f"platform-key-of-{name}" for name in PROVIDERS}
VAULT = {name: f"vault-key-for-{name}" for name in PROVIDERS}
ENVIRONMENT = (
    "OPENAI_API_KEY",
    "OPENAI_ADMIN_KEY",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
)
PLENTY = 10**9
SCHEMA = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["topic"],
}
_CHOICES = [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]
_BLOCKS = [{"type": "text", "text": "ok"}]
_CANDIDATES = [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}]
ODD_ANSWERS = [
    json.dumps(
        {
            "choices": _CHOICES,
            "content": _BLOCKS,
            "stop_reason": "end_turn",
            "candidates": _CANDIDATES,
            "usage": {"prompt_tokens": count, "completion_tokens": 1, "input_tokens": count, "output_tokens": 1},
            "usageMetadata": {"promptTokenCount": count, "candidatesTokenCount": 1},
        }
    ).encode()
    for count in (-1_000_000, "many", [1], 1.5)
] + [
    json.dumps(
        {
            "choices": [{**_CHOICES[0], "message": {"role": "assistant", "content": [{"text": "ok"}]}}],
            "content": [{"type": "text", "text": ["ok"]}],
            "stop_reason": "end_turn",
            "candidates": [{"content": {"role": "model", "parts": [{"text": ["ok"]}]}, "finishReason": ["STOP"]}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "input_tokens": 1, "output_tokens": 1},
        }
    ).encode()
]
"""Answers in the shape of all three protocols, with one thing in them that none of them knows."""
TEXTS = ("Keys are rotated in the vault.", "Bread is baked in an oven.", "Doorbells wake the workers.")


@dataclass
class World:
    """A namespace with three documents, and a server for its models."""

    server: LlmServer
    vectors: EdgeVectorStore
    embedder: Embedder
    namespace_id: str
    pool: ProviderPool = field(default_factory=ProviderPool)

    def run(
        self,
        *stages: dict[str, Any],
        secrets: Mapping[str, str | ResolvedSecret] | None = None,
        platform: bool = True,
        budget: int = PLENTY,
        inputs: dict[str, Any] | None = None,
        timeout: float = 30.0,
        stop: threading.Event | None = None,
    ) -> ChainResult:
        """Run stages as an actor does."""
        settings = LlmSettings(
            {
                name: ProviderSettings(self.server.base_url(name), SecretStr(PLATFORM[name]) if platform else None)
                for name in PROVIDERS
            },
            timeout_seconds=timeout,
        )
        resolved = {
            name: value if isinstance(value, ResolvedSecret) else ResolvedSecret(name, value)
            for name, value in (secrets or {}).items()
        }
        secrets_of_it = ResolvedSecrets(resolved)
        llm = Llm(self.pool, settings, secrets_of_it, budget)
        context = StageContext(
            self.namespace_id, ("col_1",), self.vectors, self.embedder, secrets=secrets_of_it, llm=llm
        )
        assert not any(key in repr((context, settings)) for key in (*PLATFORM.values(), *VAULT.values()))

        def check() -> None:
            if stop and stop.is_set():
                raise CallCancelledError

        return run_stages(parse_stages(list(stages)), inputs or {}, context, 100, check)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    """The built-in model."""
    return builtin_embedder()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[tuple[EdgeVectorStore, str]]:
    """Three documents of one collection."""
    vectors = EdgeVectorStore(Path(tmp_path_factory.mktemp("vectors")))
    namespace_id = random_id(Prefix.NAMESPACE)
    vectors.ensure(namespace_id, embedder.dimension)
    vectors.upsert(
        namespace_id,
        [
            Point(
                point_id(f"doc_{number}"),
                embedder.embed([text])[0],
                document_vector(text),
                {
                    "namespace_id": namespace_id,
                    "collection_id": "col_1",
                    "document_id": f"doc_{number}",
                    "text": text,
                    "number": number,
                    "kind": "tech" if number != 1 else "food",
                },
            )
            for number, text in enumerate(TEXTS)
        ],
    )
    yield vectors, namespace_id
    vectors.close()


@pytest.fixture
def world(library: tuple[EdgeVectorStore, str], embedder: Embedder) -> Iterator[World]:
    """The documents with a server of this test's own."""
    with llm_server() as server:
        world = World(server, library[0], embedder, library[1])
        yield world
        world.pool.close()


def enrich(**parameters: Any) -> dict[str, Any]:
    """An `llm_enrich`, the first stage or a later one."""
    return {"stage_id": "llm_enrich", "parameters": {"prompt": "Summarize this document.", **parameters}}


def test_each_provider_gets_exactly_the_key_that_is_meant(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = world.server
    server.default = says("short")
    # the clients look into the environment; nothing of it may travel
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "key-of-the-environment")
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "X-Other-Key: key-of-the-environment")
    rows = []
    for provider in PROVIDERS:
        cases: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
            ("secret named", {"api_key": "{{secrets.mine}}"}, {"mine": VAULT[provider]}, VAULT[provider]),
            ("organization's default", {"api_key": None}, {"mine": VAULT[provider]}, VAULT[provider]),
            ("nothing named", {}, {}, PLATFORM[provider]),
            # a secret that happens to be called like a provider is no default
            ("another secret resolved", {}, {provider: "not-for-this"}, PLATFORM[provider]),
        ]
        for case, parameters, secrets, expected in cases:
            server.asked.clear()
            stage = enrich(provider=provider, **parameters)
            if case == "organization's default":
                stored = parse_stages([stage])[0].to_stored()
                stage = dict(with_default_credentials([stored], {provider: "mine"}, {})[0])
            result = world.run(stage, secrets=secrets)
            assert [document["summary"] for document in result.documents] == ["short"] * 3
            for asked in server.asked:
                assert asked.provider == provider
                [(header, sent)] = asked.auth.items()
                assert sent.removeprefix("Bearer ") == expected
                assert "key-of-the-environment" not in str(asked)
                assert not any(name.startswith(("x-stainless", "x-goog-api-client")) for name in asked.headers)
            rows.append((provider, case, header, "vault" if expected == VAULT[provider] else "platform"))
    with capsys.disabled():
        print("\nprovider   key_in_the_stage         header           value")
        for row in rows:
            print(f"{row[0]:10} {row[1]:24} {row[2]:16} {row[3]}")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_named_secret_that_fails_never_falls_back_to_the_platforms_key(world: World, provider: str) -> None:
    stage = {**enrich(provider=provider, api_key="{{secrets.gone}}"), "on_error": "skip"}
    with pytest.raises(SecretUnusableError) as missing:
        world.run(stage)
    assert (missing.value.code, missing.value.name) == ("secret_missing", "gone")
    elsewhere = ResolvedSecret("mine", VAULT[provider], ("api.example.com",))
    with pytest.raises(SecretUnusableError) as elsewhere_only:
        world.run(enrich(provider=provider, api_key="{{secrets.mine}}", on_error="skip"), secrets={"mine": elsewhere})
    assert elsewhere_only.value.code == "secret_host_mismatch"
    assert world.server.asked == []


def test_a_key_that_comes_back_reaches_no_later_stage(world: World) -> None:
    key = VAULT["openai"]
    world.server.default = lambda asked: Reply(f"You sent {asked.auth} and {asked.prompt}")
    turn = {"stage_id": "json_transform", "parameters": {"template": '{"turned": {{ DOC.summary|reverse|tojson }}}'}}
    result = world.run(
        limit_one(),
        enrich(api_key="{{secrets.mine}}"),
        enrich(prompt="{{ DOC.summary }}", output_field="again"),
        turn,
        secrets={"mine": key},
    )
    assert world.server.asked[1].auth == {"authorization": f"Bearer {PLATFORM['openai']}"}
    assert key not in world.server.asked[1].prompt
    [document] = result.documents
    assert "sent" in document["turned"][::-1]
    assert key not in document["turned"][::-1]


def test_without_any_key_the_stage_says_so(world: World) -> None:
    with pytest.raises(LlmError, match="no API key for openai"):
        world.run(enrich(), platform=False)


def test_the_seed_pages_own_json_runs(world: World) -> None:
    world.server.default = lambda asked: Reply(f"about {asked.prompt[-10:]}")
    result = world.run(LLM_STAGE, secrets={"openai_api_key": VAULT["openai"]})
    assert sorted(document["summary"] for document in result.documents) == [
        f"about {text[-10:]}" for text in sorted(TEXTS, key=lambda text: text[-10:])
    ]
    assert {asked.body["model"] for asked in world.server.asked} == {"gpt-4o-mini"}
    assert all("Summarize this document." in asked.prompt for asked in world.server.asked)
    statistics = result.stage_statistics["llm_enrich"]
    assert (statistics["llm_calls"], statistics["tokens_used"]) == (3, 3 * (INPUT_TOKENS + OUTPUT_TOKENS))
    assert result.llm_charge == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_structured_output_is_checked_and_repaired_once(world: World, provider: str) -> None:
    world.server.replies = [Reply('{"score": 1}')]
    world.server.default = says('{"topic": "keys", "score": 3}')
    [*_, found] = world.run(
        {
            "stage_id": "feature_search",
            "parameters": {"searches": [{"feature_uri": TEXT_FEATURE, "query": "vault"}], "final_top_k": 1},
        },
        enrich(provider=provider, schema=SCHEMA, output_field="found.facts"),
    ).documents
    assert found["found"] == {"facts": {"topic": "keys", "score": 3}}
    assert [asked.schema["required"] for asked in world.server.asked] == [["topic"]] * 2
    assert "'required'" in world.server.asked[1].prompt


@pytest.mark.parametrize("provider", PROVIDERS)
def test_output_that_never_fits_is_an_error(world: World, provider: str) -> None:
    world.server.default = says('{"score": "high"}')
    with pytest.raises(LlmError) as invalid:
        world.run(enrich(provider=provider, output_schema=SCHEMA))
    assert invalid.value.code == "llm_invalid_output"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_busy_providers_are_asked_again_and_retry_after_is_honoured(world: World, provider: str) -> None:
    world.server.replies = [
        Reply(status=429, headers={"Retry-After": "0"}),
        Reply(status=500),
        Reply(truncated=True),
    ]
    result = world.run(limit_one(), enrich(provider=provider))
    assert result.documents[0]["summary"] == "an answer"
    assert len(world.server.asked) == 4


@pytest.mark.parametrize(("header", "seconds"), [("3600", 3600), ("Wed, 21 Oct 2099 07:28:00 GMT", 86_400)])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_that_asks_for_more_patience_than_there_is_is_not_waited_for(
    world: World, provider: str, header: str, seconds: int
) -> None:
    world.server.default = lambda _: Reply(status=429, headers={"Retry-After": header})
    with pytest.raises(LlmError) as limited:
        world.run(limit_one(), enrich(provider=provider))
    assert (limited.value.code, limited.value.retry_after) == ("llm_rate_limited", seconds)
    assert len(world.server.asked) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("reply", "code", "calls"),
    [
        (Reply(status=400), "llm_refused", 1),
        (Reply(status=401), "llm_unauthorized", 1),
        (Reply(status=403), "llm_unauthorized", 1),
        (Reply(status=404), "llm_refused", 1),
        (Reply(status=503), "llm_unavailable", 4),
        (Reply(raw=b"<html>not it"), "llm_unavailable", 4),
        (Reply(raw=b'{"unexpected": true}'), "llm_unavailable", 4),
        (Reply(withheld=True), "llm_refused", 1),
    ],
)
def test_failures_have_codes_and_never_repeat_what_the_provider_wrote(
    world: World, provider: str, reply: Reply, code: str, calls: int
) -> None:
    world.server.default = lambda _: reply
    with pytest.raises(LlmError) as failed:
        world.run(limit_one(), enrich(provider=provider, api_key="{{secrets.mine}}"), secrets={"mine": VAULT[provider]})
    assert failed.value.code == code
    assert len(world.server.asked) == calls
    assert VAULT[provider] not in failed.value.message + repr(failed.value) + str(failed.value.__cause__)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "raw", [b"", b"1", b'{"choices": 1, "content": 1, "candidates": 1}', b"[" * 100_000, *ODD_ANSWERS]
)
def test_an_answer_that_only_looks_like_the_protocol_is_none(world: World, provider: str, raw: bytes) -> None:
    world.server.default = lambda _: Reply(raw=raw)
    with pytest.raises(LlmError) as failed:
        world.pool.get(provider, world.server.base_url(provider)).complete(LlmRequest("m", "p", 10), VAULT[provider])
    assert failed.value.failure is LlmFailure.UNAVAILABLE


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_deadline_covers_a_provider_that_hangs(world: World, provider: str) -> None:
    over = threading.Event()

    def hang(_: Asked) -> Reply:
        over.wait(30)
        return Reply("too late")

    world.server.default = hang
    with pytest.raises(LlmError) as late:
        world.run(limit_one(), enrich(provider=provider), timeout=0.5)
    over.set()
    assert late.value.code == "llm_unavailable"
    assert len(world.server.asked) == 1


def test_no_more_requests_at_once_than_the_batch_size(world: World) -> None:
    together = threading.Barrier(2, timeout=30)

    def meet(asked: Asked) -> Reply:
        if "baked" not in asked.prompt:
            # two of the three are under way at the same time, whichever came first
            together.wait()
        return Reply("ok")

    world.server.default = meet
    world.run({"stage_id": "attribute_filter", "parameters": {"field": "kind", "value": "tech"}}, enrich(batch_size=2))
    assert world.server.most_at_once == 2
    with llm_server() as alone:
        other = World(alone, world.vectors, world.embedder, world.namespace_id)
        other.run(enrich(batch_size=1))
        other.pool.close()
        assert alone.most_at_once == 1


@pytest.mark.parametrize(
    ("when", "asked"),
    [
        ({"field": "kind", "operator": "eq", "value": "food"}, 1),
        ({"field": "kind", "operator": "eq", "value": "{{INPUT.kind}}"}, 2),
        ("{{ DOC.number > 0 }}", 2),
        ("{{ DOC.missing is defined }}", 0),
    ],
)
def test_when_decides_about_each_document(world: World, when: Any, asked: int) -> None:
    result = world.run(enrich(when=when), inputs={"kind": "tech"})
    assert len(result.documents) == 3
    assert sum("summary" in document for document in result.documents) == len(world.server.asked) == asked


@pytest.mark.parametrize(("on_error", "kept"), [("skip", 3), ("remove", 2)])
def test_a_document_that_fails_is_kept_or_removed(world: World, on_error: str, kept: int) -> None:
    world.server.default = lambda asked: Reply(status=400 if "baked" in asked.prompt else 200, text="ok")
    result = world.run(enrich(on_error=on_error))
    assert len(result.documents) == kept
    assert result.stage_statistics["llm_enrich"]["failed_documents"] == 1
    with pytest.raises(LlmError):
        world.run(enrich())


def test_a_refused_key_ends_the_stage_whatever_on_error_says(world: World) -> None:
    world.server.default = lambda _: Reply(status=401)
    with pytest.raises(LlmError) as refused:
        world.run(enrich(on_error="skip"))
    assert refused.value.code == "llm_unauthorized"


def test_a_stage_that_was_skipped_takes_no_patience_from_the_next(world: World) -> None:
    world.server.replies = [Reply(status=400), Reply(status=429, headers={"Retry-After": "0"}), Reply(status=503)]
    result = world.run(limit_one(), {**enrich(output_field="first"), "on_error": "skip"}, enrich())
    [document] = result.documents
    assert ("first" in document, document["summary"]) == (False, "an answer")
    assert len(world.server.asked) == 4


def test_a_template_sees_the_document_and_the_inputs_and_no_secret(world: World) -> None:
    world.run(
        enrich(prompt="{{ INPUT.ask }}: {{ DOC.text|upper }} ({{ STAGE.name }})", system_prompt="Be {{ INPUT.how }}."),
        inputs={"ask": "{{secrets.openai_api_key}}", "how": "brief"},
    )
    prompts = sorted(asked.prompt for asked in world.server.asked)
    assert prompts == sorted(f"{{{{secrets.openai_api_key}}}}: {text.upper()} (llm_enrich)" for text in TEXTS)
    assert world.server.asked[0].body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_the_platforms_tokens_are_charged_and_byok_is_free(world: World) -> None:
    charged = world.run(enrich()).llm_charge
    assert charged == 3 * llm_price("gpt-4o-mini", INPUT_TOKENS + OUTPUT_TOKENS)
    assert world.run(enrich(api_key="{{secrets.k}}"), secrets={"k": VAULT["openai"]}, budget=0).llm_charge == 0


def test_what_a_provider_does_not_count_is_estimated_and_charged(world: World) -> None:
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": _CHOICES}
    world.server.default = lambda _: Reply(raw=json.dumps(answer).encode())
    result = world.run(limit_one(), enrich(prompt="{{ DOC.text }}"))
    # 26 bytes read and 2 written, 3 to a token
    assert result.stage_statistics["llm_enrich"]["tokens_used"] == 10
    assert result.llm_charge == llm_price("gpt-4o-mini", 10)


def test_a_budget_that_ends_stops_the_chain_with_what_is_done(world: World) -> None:
    # enough for the reservation of one call at a time, and for no second one once it is spent
    budget = llm_price("gpt-4o-mini", 640)
    world.server.default = lambda _: Reply("ok")
    result = world.run(enrich(batch_size=1, max_tokens=512), {"stage_id": "limit"}, budget=budget)
    assert result.exhausted
    assert len(result.documents) == 3
    assert 0 < sum("summary" in document for document in result.documents) == len(world.server.asked) < 4
    assert 0 < result.llm_charge <= budget
    nothing = world.run(enrich(), budget=0)
    assert nothing.exhausted
    assert nothing.llm_charge == 0
    assert nothing.stage_statistics["llm_enrich"]["error"]


def test_a_cancelled_stage_does_not_wait_for_its_provider(world: World) -> None:
    stop, over = threading.Event(), threading.Event()

    def hang(_: Asked) -> Reply:
        stop.set()
        over.wait(30)
        return Reply()

    world.server.default = hang
    with pytest.raises(CallCancelledError):
        world.run({**enrich(), "on_error": "skip"}, stop=stop)
    over.set()


def test_llm_filter_keeps_what_the_model_keeps(world: World) -> None:
    world.server.default = lambda asked: Reply(json.dumps({"keep": "baked" in asked.prompt, "reasoning": "because"}))
    stage = {"stage_id": "llm_filter", "parameters": {"criteria": "About food", "include_reasoning": True}}
    [kept] = world.run(stage).documents
    assert (kept["document_id"], kept["llm_filter_reasoning"]) == ("doc_1", "because")
    asked = len(world.server.asked)
    assert len(world.run({"stage_id": "llm_filter", "parameters": {"criteria": ""}}).documents) == 3
    assert len(world.server.asked) == asked
    # rather than passing documents unread, it ends
    out = world.run(stage, budget=0)
    assert out.exhausted


def test_summarize_makes_one_of_many_or_one_a_group(world: World) -> None:
    [one] = world.run({"stage_id": "summarize", "parameters": {"prompt": "Sum up."}}).documents
    assert (one["summary"], sorted(one["source_document_ids"])) == ("an answer", ["doc_0", "doc_1", "doc_2"])
    assert all(text in world.server.asked[0].prompt for text in TEXTS)
    groups = world.run({"stage_id": "summarize", "parameters": {"group_by": "kind", "output_field": "gist"}}).documents
    assert {group["kind"]: len(group["source_document_ids"]) for group in groups} == {"tech": 2, "food": 1}
    world.run({"stage_id": "summarize", "parameters": {"max_input_tokens": 16, "truncation_strategy": "drop_last"}})
    assert sum(text in world.server.asked[-1].prompt for text in TEXTS) == 1


def test_query_expand_searches_by_all_wordings(world: World) -> None:
    world.server.default = says('{"queries": ["baking bread in an oven", "BAKING BREAD IN AN OVEN", "dough"]}')
    search = {"searches": [{"feature_uri": TEXT_FEATURE, "query": "{{INPUT.query}}"}], "final_top_k": 1}
    result = world.run(
        {"stage_id": "query_expand", "parameters": {"feature_search_config": search, "include_original": False}},
        inputs={"query": "food"},
    )
    assert [document["document_id"] for document in result.documents] == ["doc_1"]
    assert result.stage_statistics["query_expand"]["queries"] == 2
    assert result.stage_statistics["query_expand"]["llm_calls"] == 1


def limit_one() -> dict[str, Any]:
    """A first stage that finds one document."""
    return {"stage_id": "attribute_filter", "parameters": {"field": "kind", "value": "food"}}


def test_nothing_of_an_access_is_shown() -> None:
    settings = LlmSettings({"openai": ProviderSettings("http://x", SecretStr("platform-secret"))})
    secrets = ResolvedSecrets({"a": ResolvedSecret("a", "vault-secret")})
    assert "-secret" not in repr((ModelAccess(settings, 1), secrets))
    assert StageError("x").code == "stage_failed"
    assert NO_SECRETS.values == []
