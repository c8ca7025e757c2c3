"""Stages that ask models, against a server that speaks the providers' protocols: what they do with answers, what
they cost."""

import json
import threading
from typing import Any

import pytest
from mixpeek.models.stage_params_summarize import StageParamsSummarize
from pydantic import SecretStr

from core.credits.prices import ModelClass, llm_price
from core.errors import StageError
from core.language_models.catalogue import catalogue
from core.retrievers.parameters_search import TEXT_FEATURE
from core.vault.resolved import NO_SECRETS, ResolvedSecret, ResolvedSecrets
from pipelines.actors import ModelAccess
from pipelines.llm.errors import LlmError
from pipelines.llm.providers import LlmSettings, ProviderSettings
from pipelines.remote import CallCancelledError
from tests.integration.model_world import (
    PROVIDERS,
    TEXTS,
    VAULT,
    World,
    enrich,
    limit_one,
    wait_for_calls_under_way,
    world_around,
)
from tests.llm_provider import INPUT_TOKENS, OUTPUT_TOKENS, Asked, Reply, says
from tests.security_page import LLM_STAGE

SCHEMA = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["topic"],
}
EXPAND = {
    "stage_id": "query_expand",
    "parameters": {"feature_search_config": {"searches": [{"feature_uri": TEXT_FEATURE, "query": "vault"}]}},
}


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
    with world_around(world.library) as alone:
        alone.run(enrich(batch_size=1))
        assert alone.server.most_at_once == 1


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
    assert charged == 3 * llm_price(ModelClass.SMALL, INPUT_TOKENS + OUTPUT_TOKENS)
    assert world.run(enrich(api_key="{{secrets.k}}"), secrets={"k": VAULT["openai"]}, budget=0).llm_charge == 0


def test_a_budget_that_ends_stops_the_chain_with_what_is_done(world: World) -> None:
    # enough for the reservation of one call at a time, and for no second one once it is spent
    budget = llm_price(ModelClass.SMALL, 640)
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


@pytest.mark.parametrize("stage", [enrich(schema=SCHEMA), EXPAND], ids=["llm_enrich", "query_expand"])
def test_a_cancelled_stage_asks_for_no_better_answer(world: World, stage: dict[str, Any]) -> None:
    stop, over = threading.Event(), threading.Event()

    def answer_late_and_badly(_: Asked) -> Reply:
        stop.set()
        over.wait(30)
        return Reply("no JSON")

    world.server.default = answer_late_and_badly
    with pytest.raises(CallCancelledError):
        world.run(stage, stop=stop)
    asked = len(world.server.asked)
    over.set()
    wait_for_calls_under_way()
    assert len(world.server.asked) == asked


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


def test_summarize_runs_with_all_that_the_official_client_sends_by_default(world: World) -> None:
    parameters = json.loads(StageParamsSummarize().to_json())
    assert (parameters["group_by"], "{{DOCUMENTS}}" in parameters["prompt"]) == ("null", True)
    [made] = world.run({"stage_id": "summarize", "parameters": parameters}).documents
    assert (made["summary"], made["documents_used"]) == ("an answer", 3)
    [asked] = world.server.asked
    assert asked.body["model"] == catalogue().default("openai")
    head, *texts = asked.prompt.replace("---", "").split("\n\n")
    assert head == "Summarize the following 3 documents concisely:"
    assert sorted(text.strip()[4:] for text in texts if text.strip()) == sorted(TEXTS)
    assert [text.strip()[:3] for text in texts if text.strip()] == ["[1]", "[2]", "[3]"]


def test_a_prompt_for_groups_names_their_values(world: World) -> None:
    prompt = "{{ GROUP_VALUE }}: {{ DOC_COUNT }}"
    world.run({"stage_id": "summarize", "parameters": {"prompt": prompt, "group_by": "kind"}})
    heads = sorted(asked.prompt.partition("\n\nDocuments:\n")[0] for asked in world.server.asked)
    assert heads == ["food: 1", "tech: 2"]


def test_summarize_gives_each_document_its_own_summary(world: World) -> None:
    stage = {"stage_id": "summarize", "parameters": {"mode": "per_document", "output_field": "members"}}
    documents = world.run(stage).documents
    assert {document["document_id"]: document["members"] for document in documents} == {
        "doc_0": "an answer",
        "doc_1": "an answer",
        "doc_2": "an answer",
    }
    assert sorted(document["text"] for document in documents) == sorted(TEXTS)
    assert [sum(text in asked.prompt for text in TEXTS) for asked in world.server.asked] == [1, 1, 1]
    # what the credits did not reach has no summary, and is not given on as if it had
    none = world.run(stage, budget=0)
    assert (none.documents, none.exhausted) == ([], True)


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


def test_nothing_of_an_access_is_shown() -> None:
    settings = LlmSettings({"openai": ProviderSettings("http://x", SecretStr("platform-secret"))})
    secrets = ResolvedSecrets({"a": ResolvedSecret("a", "vault-secret")})
    assert "-secret" not in repr((ModelAccess(settings, 1), secrets))
    assert StageError("x").code == "stage_failed"
    assert NO_SECRETS.values == []
