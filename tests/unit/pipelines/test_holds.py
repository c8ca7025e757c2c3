"""What is held for models and what their calls take of it: the same arithmetic, whatever stages and documents are."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from core.credits.prices import ModelClass
from core.language_models.catalogue import catalogue
from core.retrievers.estimate import DOCUMENT_BYTES, llm_hold, schema_size, tokens_of
from core.retrievers.parameters_search import MOST_DOCUMENTS, TEXT_FEATURE
from core.retrievers.stages import parse_stages
from core.storage.vectors.store import Hit, VectorStore
from pipelines.chain import ChainResult, run_stages
from pipelines.embedders.embedder import Embedder
from pipelines.llm.access import Llm
from pipelines.llm.provider import Completion, LlmRequest, Usage
from pipelines.llm.providers import LlmSettings, ProviderPool, ProviderSettings
from pipelines.stage import StageContext

AROUND = 100
SEARCHES = [{"feature_uri": TEXT_FEATURE, "query": "{{INPUT.q}}"}]
SCHEMA = {"type": "object", "description": "long" * 500}
FITTING = json.dumps({"keep": True, "reasoning": "", "queries": ["other words"]})
SENTENCE = "The vault keeps every secret under a key of its own, which nobody ever sees. "


class Shelf:
    """Stands for a vector store: all documents, in their order."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._hits = [
            Hit(
                str(number),
                0.5,
                {"document_id": f"doc_{number}", "collection_id": "col_1", "text": text, "kind": str(number % 3)},
            )
            for number, text in enumerate(texts)
        ]

    def scroll(self, _: str, __: Any, limit: int) -> list[Hit]:
        """The first of them."""
        return self._hits[:limit]

    def search(self, _: str, __: Any, limit: int) -> list[Hit]:
        """The same."""
        return self._hits[:limit]


class Numb:
    """Stands for an embedder."""

    name = "numb"
    dimension = 3

    def embed(self, texts: Sequence[str]) -> Any:
        """Nothing in them."""
        return [np.zeros(3, np.float32) for _ in texts]

    def characters_read(self, texts: Sequence[str]) -> list[int]:
        """All of them."""
        return [len(text) for text in texts]

    def knows(self, text: str) -> bool:
        """Any."""
        return True


class Greedy:
    """A provider whose model writes all that it may, first in no form that was asked for, and counts every token."""

    def complete(self, request: LlmRequest, key: str) -> Completion:
        """An answer."""
        reads = tokens_of(len(request.prompt.encode()) + len(request.system.encode()) + schema_size(request.schema))
        if request.most_read is not None and "Your last answer" not in request.prompt:
            reads = min(reads, request.most_read)
        usage = Usage(1, reads + AROUND, request.max_tokens)
        if request.schema is not None and "Your last answer" not in request.prompt:
            return Completion("x" * 3 * request.max_tokens, usage, request.model)
        return Completion(FITTING if request.schema is not None else "an answer", usage, request.model)

    def close(self) -> None:
        """Nothing to close."""


class Pool(ProviderPool):
    """Gives that provider for all."""

    def get(self, name: str, base_url: str) -> Any:
        """It."""
        return Greedy()


@dataclass
class Ledger:
    """What calls kept free while they were under way."""

    reserved: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Watched(Llm):
    """Notes each reservation."""

    ledger: Ledger

    @contextmanager
    def _reservation(self, price: int, kind: ModelClass, key: Any) -> Iterator[Any]:
        with self.ledger.lock:
            self.ledger.reserved.append(price)
        with super()._reservation(price, kind, key) as paid:
            yield paid


def run(
    stages: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    limit: int,
    inputs: Mapping[str, Any],
    most_found: int = MOST_DOCUMENTS,
) -> tuple[int, ChainResult, list[int]]:
    """What is held for these stages, how they end with just that, and what each call kept free."""
    specs = parse_stages(list(stages))
    hold = llm_hold([spec.to_stored() for spec in specs], limit, (), inputs, catalogue(), most_found)
    known = LlmSettings(
        {name: ProviderSettings("http://x.example", SecretStr("k")) for name in ("openai", "anthropic", "google")}
    )
    llm = Watched(Pool(), known, budget=hold)
    llm.ledger = Ledger()
    context = StageContext(
        "ns_1", ("col_1",), cast(VectorStore, Shelf(texts)), cast(Embedder, Numb()), llm=llm, most_found=most_found
    )
    return hold, run_stages(specs, inputs, context, limit, lambda: None), llm.ledger.reserved


def stage(stage_id: str, **parameters: Any) -> dict[str, Any]:
    return {"stage_id": stage_id, "parameters": parameters}


def optional(values: st.SearchStrategy[Any], *names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(st.just({}), values.map(lambda value: dict.fromkeys(names, value)))


SMALL = st.integers(1, 600)
TEXT = st.one_of(
    st.integers(0, DOCUMENT_BYTES // len(SENTENCE)).map(lambda times: SENTENCE * times),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=DOCUMENT_BYTES // 4),
    st.integers(0, DOCUMENT_BYTES // 3).map(lambda times: "京" * times),
)
MODEL = optional(st.sampled_from(["gpt-4o", "gpt-6-luna", "claude-3-opus", "gemini-1.5-pro", "mine"]), "model")
ENRICH = st.builds(
    lambda model, schema, on_error, **given: stage("llm_enrich", **given, **model, **schema, **on_error),
    MODEL,
    optional(st.just(SCHEMA), "output_schema"),
    optional(st.sampled_from(["skip", "remove"]), "on_error"),
    prompt=st.sampled_from(
        [
            "Sum up.",
            "{{ DOC.text | default('') }}",
            "{{ INPUT.q }}: {{ DOC.content | default('') }}",
            "{{INPUT.q}}{{INPUT.q}}",
        ]
    ),
    system_prompt=st.sampled_from([None, "Be {{ INPUT.q }}."]),
    max_tokens=SMALL,
)
FILTER = st.builds(
    lambda model, **given: stage("llm_filter", **given, **model),
    MODEL,
    criteria=st.sampled_from(["", "About keys", "About {{ INPUT.q }}", "{{ DOC.kind | default('x') }}"]),
    include_reasoning=st.booleans(),
)
SUMMARY = st.builds(
    lambda model, schema, how, **given: stage("summarize", **given, **model, **schema, **how),
    MODEL,
    optional(st.just(SCHEMA), "schema"),
    st.sampled_from([{}, {"mode": "per_document"}, {"group_by": "kind"}]),
    prompt=st.sampled_from(
        [
            "Sum up.",
            "{{DOC_COUNT}}: {{DOCUMENTS}} {{DOCUMENTS}}",
            "{{GROUP_VALUE}} {{INPUT.q}}",
            "{{ DOC.text | default('') }}",
        ]
    ),
    document_template=st.sampled_from([None, "[{{INDEX}}] {{DOC.content | default('')}}\n"]),
    max_input_tokens=st.integers(16, 900),
    max_output_tokens=SMALL,
    truncation_strategy=st.sampled_from(["drop_last", "truncate_each", "smart"]),
)
OTHER = st.sampled_from(
    [
        stage("limit", limit=3),
        stage("limit", limit=2, offset=1),
        stage("sort_attribute", field="kind"),
        stage("attribute_filter", field="kind", operator="ne", value="1"),
        stage("rag_prepare", output_mode="formatted_list"),
    ]
)
EXPAND = st.builds(
    lambda model, **given: stage("query_expand", **given, **model),
    MODEL,
    feature_search_config=st.just({"searches": SEARCHES, "final_top_k": 5}),
    num_expansions=st.integers(1, 10),
)
FIRST = st.one_of(EXPAND, st.just(stage("feature_search", searches=SEARCHES, final_top_k=4)), ENRICH, SUMMARY)
ASKING = st.one_of(ENRICH, FILTER, SUMMARY)
CHAIN = st.builds(
    lambda first, later: [first, *later], FIRST, st.lists(st.one_of(ASKING, OTHER), min_size=1, max_size=3)
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stages=CHAIN,
    texts=st.lists(TEXT, max_size=7),
    limit=st.integers(1, 6),
    most_found=st.sampled_from([0, 1, 2, 5, 5000]),
    q=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
)
def test_what_calls_may_take_is_never_more_than_what_is_held(
    stages: list[dict[str, Any]], texts: list[str], limit: int, most_found: int, q: str
) -> None:
    hold, result, reserved = run(stages, texts, limit, {"q": q}, most_found)
    assert sum(reserved) <= hold
    assert not result.exhausted
    assert result.llm_charge <= hold


@pytest.mark.parametrize("strategy", ["drop_last", "truncate_each", "smart"])
def test_a_summary_of_few_tokens_over_many_documents_is_written(strategy: str) -> None:
    # 400 tokens have more bytes than 400 times three: the call was never made
    summary = stage("summarize", max_input_tokens=400, truncation_strategy=strategy)
    _, result, reserved = run([summary], [SENTENCE * 20] * 20, 20, {})
    [made] = result.documents
    assert (made["summary"], result.exhausted, len(reserved)) == ("an answer", False, 1)


def test_only_documents_that_can_be_shown_are_asked_about() -> None:
    everything = stage("attribute_filter", field="kind", operator="ne", value="none")
    hold, result, reserved = run([everything, stage("llm_enrich", prompt="Sum up.")], ["text"] * 30, 1, {})
    assert (len(result.documents), len(reserved)) == (1, 1)
    assert result.documents[0]["summary"] == "an answer"
    assert result.stage_statistics["llm_enrich"]["input_count"] == 1
    assert result.stage_statistics["llm_enrich"]["left_out"] == 29
    one = llm_hold(
        [spec.to_stored() for spec in parse_stages([stage("llm_enrich", prompt="Sum up.")])], 1, (), {}, catalogue()
    )
    assert hold == one


def test_no_more_documents_are_found_than_were_counted() -> None:
    # they came after the execution was paid for
    for first in (
        stage("attribute_filter", field="kind", operator="ne", value="none"),
        stage("llm_enrich", prompt="x"),
    ):
        found, filtered = [first], stage("llm_filter", criteria="x")
        _, result, reserved = run([*found, filtered], ["text"] * 30, 9, {}, most_found=4)
        assert (len(result.documents), result.exhausted) == (4, False)
        assert result.stage_statistics["llm_filter"]["input_count"] == 4
        assert result.stage_statistics[first["stage_id"]].get("truncated", False) is (first["stage_id"] != "llm_enrich")
        assert reserved


def test_what_a_later_stage_chooses_from_is_all_asked_about() -> None:
    found = stage("feature_search", searches=SEARCHES, final_top_k=6)
    enrich = stage("llm_enrich", prompt="Sum up.")
    for chooser in (stage("sort_attribute", field="summary"), stage("llm_filter", criteria="x")):
        _, result, _ = run([found, enrich, chooser], ["text"] * 30, 1, {"q": "x"})
        assert result.stage_statistics["llm_enrich"]["llm_calls"] == 6
