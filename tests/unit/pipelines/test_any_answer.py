"""Whatever JSON a provider answers with: it is a completion within bounds, or an error of the closed list."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.llm import anthropic, google, openai
from pipelines.llm.answers import opened
from pipelines.llm.errors import LlmError
from pipelines.llm.provider import Completion, LlmRequest
from pipelines.llm.structured import structured
from tests.llm_provider import content_of, counts, scripted

Read = Callable[[LlmRequest, Any], Completion]
READ: dict[str, Read] = {
    "openai": openai._completion,
    "anthropic": anthropic._completion,
    "google": google._completion,
}
_WORDS = st.sampled_from(["text", "refusal", "thinking", "length", "MAX_TOKENS", "ok \ud83d", '{"a": 1}', "error", "0"])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if isinstance(value, dict):
        return [here, *(place for name, part in value.items() for place in _places(part, (*here, name)))]
    if isinstance(value, list):
        return [here, *(place for at, part in enumerate(value) for place in _places(part, (*here, at)))]
    return [here]


def _with(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    if not place:
        return other
    copied = value.copy()
    copied[place[0]] = _with(value[place[0]], place[1:], other)
    return copied


@pytest.mark.parametrize("provider", READ)
@given(data=st.data())
def test_whatever_stands_anywhere_in_an_answer(provider: str, data: st.DataObject) -> None:
    answer = json.loads(scripted(provider, content_of(provider, "ok"), **counts(provider, 5, 7)))
    for _ in range(data.draw(st.integers(1, 3))):
        answer = _with(answer, data.draw(st.sampled_from(_places(answer))), data.draw(_ANYTHING))
    schema = data.draw(st.sampled_from([None, {"type": "object"}]))
    asked = LlmRequest("m", "a prompt", 50, schema=schema)
    # no other error than one of the closed list
    with contextlib.suppress(LlmError):
        read = READ[provider](asked, opened(provider, "m", json.dumps(answer)))
        assert isinstance(read.text, str)
        assert isinstance(read.model, str)
        assert 0 <= read.usage.tokens <= asked.bytes_read + 1000 + asked.max_tokens
        assert structured(lambda _: read, asked).text.strip()
