"""What is held for models before a retriever runs: an upper bound, and nothing where the organization pays itself."""

from typing import Any

import pytest

from core.credits.prices import ModelClass, llm_price, model_class
from core.retrievers.estimate import asks_with_default_key, llm_hold
from core.retrievers.stages import parse_stages

SEARCHES = [{"feature_uri": "mixpeek://text_extractor@v1/text_embedding", "query": "x"}]


def stored(*stages: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Stages as a retriever keeps them."""
    return [
        stage.to_stored()
        for stage in parse_stages([{"stage_id": stage_id, "parameters": given} for stage_id, given in stages])
    ]


def find(top: int) -> tuple[str, dict[str, Any]]:
    return ("feature_search", {"searches": SEARCHES, "final_top_k": top})


def test_the_hold_grows_with_documents_and_tokens() -> None:
    enrich = ("llm_enrich", {"prompt": "Summarize."})
    one, ten = llm_hold(stored(find(1), enrich), 100, ()), llm_hold(stored(find(10), enrich), 100, ())
    assert ten == 10 * one > 0
    longer = llm_hold(stored(find(1), ("llm_enrich", {"prompt": "Summarize.", "max_tokens": 4000})), 100, ())
    assert longer - one == llm_price("gpt-4o-mini", 4000 - 512)
    assert llm_hold(stored(find(1), ("llm_enrich", {"prompt": "Summarize.", "max_tokens": None})), 100, ()) == one
    for mode in ("per_document", "{{INPUT.mode}}"):
        each = llm_hold(stored(find(4), ("summarize", {"mode": mode}), enrich), 100, ())
        assert each == 4 * llm_hold(stored(find(4), ("summarize", {"mode": None}), enrich), 100, ())
    # a limit before the models bounds their documents, one after them does not
    assert llm_hold(stored(find(10), ("limit", {"limit": 2}), enrich), 100, ()) == 2 * one
    assert llm_hold(stored(find(10), enrich, ("limit", {"limit": 2})), 100, ()) == ten
    # as the first stage it begins with as many documents as the execution gives
    assert llm_hold(stored(enrich), 7, ()) == 7 * one


@pytest.mark.parametrize(
    "stage",
    [
        ("llm_filter", {"criteria": "x"}),
        ("summarize", {}),
        ("summarize", {"group_by": "a"}),
        ("query_expand", {"feature_search_config": {"searches": SEARCHES}}),
        ("query_expand", {"feature_search_config": "{{INPUT.final_top_k}}"}),
        ("llm_enrich", {"prompt": "x", "max_tokens": "{{INPUT.n}}"}),
        ("llm_enrich", {"prompt": "x", "provider": "{{INPUT.p}}"}),
    ],
)
def test_every_stage_that_asks_a_model_is_held_for(stage: tuple[str, dict[str, Any]]) -> None:
    assert llm_hold(stored(find(5), stage), 100, ()) > 0


def test_nothing_is_held_where_the_organization_pays_itself() -> None:
    own = stored(find(5), ("llm_enrich", {"prompt": "x", "api_key": "{{secrets.k}}"}))
    default = stored(find(5), ("llm_enrich", {"prompt": "x"}))
    assert (llm_hold(own, 100, ()), llm_hold(default, 100, {"openai"})) == (0, 0)
    assert llm_hold(default, 100, {"anthropic"}) > 0
    assert llm_hold(stored(find(5)), 100, ()) == 0
    assert (asks_with_default_key(own), asks_with_default_key(default)) == (False, True)


def test_a_model_is_held_for_unless_its_own_provider_is_paid() -> None:
    claude = stored(find(5), ("llm_enrich", {"prompt": "x", "model": "claude-3-haiku"}))
    assert llm_hold(claude, 100, {"openai"}) > 0
    assert llm_hold(claude, 100, {"anthropic"}) == 0
    # whose model it will be is not known yet
    assert llm_hold(stored(find(5), ("llm_enrich", {"prompt": "x", "model": "{{INPUT.m}}"})), 100, {"openai"}) > 0


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("gpt-4o-mini", ModelClass.SMALL),
        ("claude-3-haiku", ModelClass.SMALL),
        ("gemini-3.5-flash-lite", ModelClass.SMALL),
        ("gemini-2.0-flash", ModelClass.SMALL),
        ("gpt-4o", ModelClass.STANDARD),
        ("claude-3-sonnet", ModelClass.STANDARD),
        ("anything", ModelClass.STANDARD),
        ("gemini-1.5-pro", ModelClass.STANDARD),
        ("models/gemini-ultra", ModelClass.LARGE),
        ("o1-mini", ModelClass.SMALL),
        ("mistral-large-latest", ModelClass.LARGE),
        ("claude-3-opus", ModelClass.LARGE),
    ],
)
def test_a_models_class_is_in_its_name(model: str, kind: ModelClass) -> None:
    assert model_class(model) is kind


def test_a_price_is_rounded_up_once() -> None:
    assert [llm_price("gpt-4o-mini", tokens) for tokens in (0, 1, 100, 1000)] == [0, 10, 1000, 10_000]
    assert llm_price("gpt-4o", 1) == 30
