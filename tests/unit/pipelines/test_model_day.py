"""The clock decides who is asked: a model from the day on which its provider ends it has a successor."""

from typing import Any

import pytest
from freezegun import freeze_time
from pydantic import SecretStr

from pipelines.llm.access import Llm, ModelChoice
from pipelines.llm.provider import Completion, LlmRequest, Usage
from pipelines.llm.providers import LlmSettings, ProviderPool, ProviderSettings


class Pool(ProviderPool):
    """Gives a provider that answers with the model that it was asked for."""

    def get(self, name: str, base_url: str) -> Any:
        """It."""
        return self

    def complete(self, request: LlmRequest, key: str) -> Completion:
        """An answer."""
        return Completion(f"{request.model} {request.takes.bound}", Usage(1, 1, 1), request.model)


@pytest.mark.parametrize(
    ("moment", "answer"),
    [
        ("2027-01-13 23:59:59", "gpt-4o max_tokens"),
        ("2027-01-14 00:00:00", "gpt-6-luna max_completion_tokens"),
        ("2031-05-05 05:05:05", "gpt-6-luna max_completion_tokens"),
    ],
)
def test_a_successor_is_asked_from_the_first_second_of_its_day(moment: str, answer: str) -> None:
    known = LlmSettings({"openai": ProviderSettings("http://x.example", SecretStr("k"))})
    llm = Llm(Pool(), known, budget=10**9)
    with freeze_time(moment):
        assert llm.complete(ModelChoice("openai", "gpt-4o", None), LlmRequest("", "x", 5)).text == answer
    assert llm.asked is not None
    assert llm.asked.requested == "gpt-4o"
