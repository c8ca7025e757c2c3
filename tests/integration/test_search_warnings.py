"""What a search says of itself when a part of it did not count: on the real model and the real engine."""

import json
from typing import Any

import pytest

from core.retrievers.parameters_search import TEXT_FEATURE
from pipelines.chain import ChainResult
from tests.integration.model_world import World
from tests.llm_provider import says

LONG = "The keys are rotated. " * 100
MODEL = "all-MiniLM-L6-v2"


def search(value: Any, **more: Any) -> dict[str, Any]:
    """One search."""
    return {"feature_uri": TEXT_FEATURE, "query": value, **more}


def words(value: str, **more: Any) -> dict[str, Any]:
    """One search by words."""
    return search(value, lexical=True, **more)


def find(world: World, *searches: dict[str, Any]) -> ChainResult:
    """The outcome of one feature search."""
    return world.run({"stage_id": "feature_search", "parameters": {"searches": list(searches)}})


def warnings(result: ChainResult, stage: str = "feature_search") -> list[str]:
    """What the stage's statistics warn of."""
    told: list[str] = result.stage_statistics[stage].get("warnings", [])
    return told


def numbers(result: ChainResult) -> list[int]:
    """The documents that were found."""
    return [document["number"] for document in result.documents]


STOP_WORDS = "its query has no words but stop words, such as 'the' and 'of'."
NO_WORDS = "its query has no words."


@pytest.mark.parametrize(
    ("query", "why"), [("the of and", STOP_WORDS), ("?! …", NO_WORDS), ("don't", STOP_WORDS)], ids=str
)
def test_a_half_without_words_is_named_with_the_half_that_answered(world: World, query: str, why: str) -> None:
    hybrid = find(world, search(query), words(query))
    told = f"searches[1] (by words) found nothing: {why} The answer is that of searches[0] (by meaning)."
    assert len(hybrid.documents) == 3
    assert told in warnings(hybrid)
    assert warnings(find(world, words(query), search("bread"), search("keys"))) == [
        f"searches[0] (by words) found nothing: {why} "
        "The answer is that of searches[1] (by meaning), searches[2] (by meaning)."
    ]


def test_a_search_by_words_alone_says_why_it_found_nothing(world: World) -> None:
    alone = find(world, words("the of"))
    assert (alone.documents, warnings(alone)) == ([], [f"searches[0] (by words) found nothing: {STOP_WORDS}"])
    both = find(world, words("the"), words("…", weight=0))
    assert warnings(both) == [
        f"searches[0] (by words) found nothing: {STOP_WORDS}",
        f"searches[1] (by words) found nothing: {NO_WORDS}",
    ]


def test_a_query_that_is_longer_than_the_model_reads_says_where_it_was_cut(world: World) -> None:
    read = world.library.embedder.characters_read([LONG])[0]
    assert 0 < read < len(LONG)
    (told,) = warnings(find(world, words("keys"), search(LONG)))
    assert told == (
        f"searches[1] (by meaning) read the first {read} of the {len(LONG)} characters of its query: "
        f"{MODEL} reads no more."
    )
    assert warnings(find(world, words(LONG))) == []


@pytest.mark.parametrize("query", ["🎉", "  ", "ภาษาไทย"])
def test_a_query_that_the_model_cannot_read_says_so(world: World, query: str) -> None:
    told = f"searches[0] (by meaning) ranks by nothing: {MODEL} knows no part of its query."
    assert told in warnings(find(world, search(query)))
    assert told in warnings(find(world, search(query), words("keys")))


@pytest.mark.parametrize("query", ["keys", "the keys", "Schlüssel 🔑", "key the of 🎉"])
def test_a_query_that_counts_in_both_halves_warns_of_nothing(world: World, query: str) -> None:
    assert "warnings" not in find(world, search(query), words(query)).stage_statistics["feature_search"]


def test_a_vector_warns_of_nothing(world: World) -> None:
    vector = {"input_mode": "vector", "value": [0.1] * world.library.embedder.dimension}
    assert warnings(find(world, search(vector), words("keys"))) == []


def test_the_next_stages_get_what_the_other_half_found(world: World) -> None:
    result = world.run(
        {"stage_id": "feature_search", "parameters": {"searches": [search("bread"), words("the")]}},
        {
            "stage_id": "feature_search",
            "stage_name": "again",
            "parameters": {"searches": [words("bread"), words("of")]},
        },
    )
    assert numbers(result) == [1]
    assert warnings(result, "again") == [
        f"searches[1] (by words) found nothing: {STOP_WORDS} The answer is that of searches[0] (by words)."
    ]


def test_each_wording_of_an_expansion_is_looked_at(world: World) -> None:
    world.server.default = says(json.dumps({"queries": ["the of", LONG]}))
    config = {"searches": [search("bread"), words("bread")]}
    result = world.run({"stage_id": "query_expand", "parameters": {"feature_search_config": config}})
    lexical, dense = warnings(result, "query_expand")
    assert lexical.startswith("query 2 of 3: searches[1] (by words) found nothing: its query has no words but stop")
    assert dense.startswith("query 3 of 3: searches[0] (by meaning) read the first ")
