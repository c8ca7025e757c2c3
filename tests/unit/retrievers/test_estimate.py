"""What is held for models before a retriever runs: an upper bound, and nothing where the organization pays itself."""

from collections.abc import Collection
from typing import Any

import pytest

from core.credits.prices import MILLI, ModelClass, llm_price
from core.language_models.catalogue import catalogue
from core.retrievers.estimate import asks_with_default_key, llm_hold
from core.retrievers.stages import parse_stages

SEARCHES = [{"feature_uri": "mixpeek://text_extractor@v1/text_embedding", "query": "x"}]
Stage = tuple[str, dict[str, Any]]
ENRICH: Stage = ("llm_enrich", {"prompt": "Summarize."})
ALL: Stage = ("attribute_filter", {"field": "a", "value": 1})


def stored(*stages: Stage, on_error: str = "error") -> list[dict[str, Any]]:
    """Stages as a retriever keeps them."""
    return [
        stage.to_stored()
        for stage in parse_stages(
            [{"stage_id": stage_id, "parameters": given, "on_error": on_error} for stage_id, given in stages]
        )
    ]


def held(
    *stages: Stage,
    limit: int = 100,
    own_keys: Collection[str] = (),
    inputs: dict[str, Any] | None = None,
    on_error: str = "error",
) -> int:
    return llm_hold(stored(*stages, on_error=on_error), limit, own_keys, inputs or {}, catalogue())


def find(top: int, top_k: int = 100) -> Stage:
    return ("feature_search", {"searches": [{**SEARCHES[0], "top_k": top_k}], "final_top_k": top})


ONE = held(find(1), ENRICH)
"""What one call of the stage is held with."""


def test_the_hold_grows_with_documents_and_tokens() -> None:
    assert held(find(10), ENRICH) == 10 * ONE > 0
    longer = held(find(1), ("llm_enrich", {"prompt": "Summarize.", "max_tokens": 4000}))
    assert longer - ONE == llm_price(ModelClass.SMALL, 4000 - 512)
    assert held(find(1), ("llm_enrich", {"prompt": "Summarize.", "max_tokens": None})) == ONE
    # as the first stage it begins with as many documents as the execution gives
    assert held(ENRICH, limit=7) == 7 * ONE


@pytest.mark.parametrize(
    ("stages", "calls"),
    [
        # only what can be shown is asked about
        ([ALL, ENRICH], 1),
        ([find(10), ENRICH], 1),
        ([ALL, ENRICH, ("llm_enrich", {"prompt": "Summarize."})], 2),
        ([ALL, ENRICH, ("limit", {"limit": 3})], 1),
        ([ALL, ENRICH, ("limit", {"limit": 3, "offset": 4})], 5),
        ([ALL, ENRICH, ("json_transform", {"template": "{}", "fail_on_error": True})], 1),
        ([ALL, ENRICH, ("llm_filter", {"criteria": ""})], 1),
        # what comes after may need more of them
        ([find(10), ENRICH, ("sort_attribute", {"field": "summary"})], 10),
        ([find(10), ENRICH, ("attribute_filter", {"field": "summary", "value": "x"})], 10),
        ([find(10), ENRICH, ("json_transform", {"template": "{}"})], 10),
        ([find(10), ENRICH, ("api_call", {"url": "https://a.example/x", "allowed_domains": ["a.example"]})], 10),
        ([find(10), ENRICH, ("rag_prepare", {})], 10),
        ([ALL, ("limit", {"limit": 4}), ENRICH, ("rag_prepare", {})], 4),
        ([find(10), ("limit", {"limit": 4, "offset": 8}), ENRICH, ("rag_prepare", {})], 2),
        ([find(10), ("llm_enrich", {"prompt": "Summarize.", "on_error": "remove"})], 10),
        ([find(10, top_k=3), ENRICH, ("rag_prepare", {})], 3),
        ([ALL, ENRICH, ("rag_prepare", {})], 5000),
        ([ALL, ("summarize", {"api_key": "{{secrets.k}}"}), ENRICH, ("rag_prepare", {})], 1),
        ([find(6), ("summarize", {"group_by": "a", "api_key": "{{secrets.k}}"}), ENRICH, ("rag_prepare", {})], 6),
        ([find(6), find(2), ENRICH, ("rag_prepare", {})], 2),
    ],
)
def test_the_hold_knows_how_many_documents_can_reach_a_stage(stages: list[Stage], calls: int) -> None:
    assert held(*stages, limit=1) == calls * ONE


def test_an_attribute_filter_and_a_limit_of_one_hold_for_one_document() -> None:
    # it held 125,950 credits, for 5,000 documents
    assert held(ALL, ENRICH, limit=1) < 30 * MILLI


def test_a_stage_that_may_be_skipped_gives_on_what_it_got() -> None:
    summary: Stage = ("summarize", {"api_key": "{{secrets.k}}"})
    stages: list[Stage] = [find(6), summary, ENRICH, ("rag_prepare", {})]
    assert held(*stages) == ONE
    assert held(*stages, on_error="skip") == 6 * ONE
    # where the first search is skipped, the next one finds as many as it likes
    assert held(find(6), ALL, ENRICH, ("rag_prepare", {}), on_error="skip") == 5000 * ONE


@pytest.mark.parametrize(
    "stage",
    [
        ("llm_filter", {"criteria": "x"}),
        ("summarize", {}),
        ("summarize", {"group_by": "a"}),
        ("query_expand", {"feature_search_config": {"searches": SEARCHES}}),
        ("query_expand", {"feature_search_config": "{{INPUT.search}}"}),
        ("llm_enrich", {"prompt": "x", "max_tokens": "{{INPUT.n}}"}),
        ("llm_enrich", {"prompt": "x", "provider": "{{INPUT.p}}"}),
    ],
)
def test_every_stage_that_asks_a_model_is_held_for(stage: Stage) -> None:
    inputs = {"n": 5, "p": "google", "search": {"searches": SEARCHES}}
    assert held(find(5), stage, inputs=inputs) > 0


def test_what_inputs_say_counts_and_a_stage_that_cannot_be_read_asks_nobody() -> None:
    templated = {"prompt": "Summarize.", "max_tokens": "{{INPUT.n}}"}
    assert held(find(1), ("llm_enrich", templated), inputs={"n": 512}) == ONE
    assert held(find(1), ("llm_enrich", templated), inputs={"n": 513}) == ONE + llm_price(ModelClass.SMALL, 1)
    assert held(find(1), ("llm_enrich", templated)) == 0
    assert held(find(1), ("llm_enrich", templated), inputs={"n": -1}) == 0
    asks = {"prompt": "{{ INPUT.q }}"}
    short, long = ({"q": "?" * length} for length in (3, 3003))
    more = held(find(1), ("llm_enrich", asks), inputs=long) - held(find(1), ("llm_enrich", asks), inputs=short)
    assert more == llm_price(ModelClass.SMALL, 1000)


def test_a_summary_is_held_for_by_the_tokens_that_it_may_read() -> None:
    def summary(**given: Any) -> int:
        return held(find(20), ("summarize", given))

    assert summary(max_input_tokens=400) - summary(max_input_tokens=399) == llm_price(ModelClass.SMALL, 1)
    assert summary(mode="per_document") == 20 * summary()
    assert summary(group_by="a") == 20 * summary()
    twice = summary(prompt="{{DOCUMENTS}}{{DOCUMENTS}}", max_input_tokens=1000)
    once = summary(prompt="{{DOCUMENTS}}", max_input_tokens=1000)
    assert twice - once >= llm_price(ModelClass.SMALL, 1000)


def test_nothing_is_held_where_the_organization_pays_itself() -> None:
    own: Stage = ("llm_enrich", {"prompt": "x", "api_key": "{{secrets.k}}"})
    default: Stage = ("llm_enrich", {"prompt": "x"})
    assert (held(find(5), own), held(find(5), default, own_keys={"openai"})) == (0, 0)
    assert held(find(5), default, own_keys={"anthropic"}) > 0
    assert held(find(5)) == 0
    assert (asks_with_default_key(stored(own)), asks_with_default_key(stored(default))) == (False, True)


def test_a_model_is_held_for_unless_its_own_provider_is_paid() -> None:
    claude: Stage = ("llm_enrich", {"prompt": "x", "model": "claude-3-haiku"})
    assert held(find(5), claude, own_keys={"openai"}) > 0
    assert held(find(5), claude, own_keys={"anthropic"}) == 0
    named: Stage = ("llm_enrich", {"prompt": "x", "model": "{{INPUT.m}}"})
    assert held(find(5), named, own_keys={"openai"}, inputs={"m": "claude-3-haiku"}) > 0
    assert held(find(5), named, own_keys={"openai"}, inputs={"m": "gpt-4o"}) == 0


def test_a_price_is_rounded_up_once() -> None:
    assert [llm_price(ModelClass.SMALL, tokens) for tokens in (0, 1, 100, 1000)] == [0, 10, 1000, 10_000]
    assert llm_price(ModelClass.STANDARD, 1) == 30
