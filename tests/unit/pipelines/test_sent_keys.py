"""Keys that cannot be a header: said as what they are, and never tried."""

from typing import cast

import pytest
from pydantic import SecretStr

from core.vault.resolved import ResolvedSecret, ResolvedSecrets
from pipelines.llm.access import Llm, ModelChoice
from pipelines.llm.errors import LlmError
from pipelines.llm.provider import LlmRequest
from pipelines.llm.providers import LlmSettings, ProviderPool, ProviderSettings


class _Nobody:
    def get(self, *_: object) -> object:
        """A client."""
        raise AssertionError("nobody is to be asked")


@pytest.mark.parametrize("key", ["sk-abc\n", " sk-abc", "sk-abc…", "Bearer sk-abc", ""])
@pytest.mark.parametrize("is_own", [True, False])
def test_a_key_with_something_pasted_along_is_unauthorized(key: str, is_own: bool) -> None:
    settings = LlmSettings({"openai": ProviderSettings("http://127.0.0.1:9/v1", SecretStr(key))})
    secrets = ResolvedSecrets({"mine": ResolvedSecret("mine", key)})
    llm = Llm(cast(ProviderPool, _Nobody()), settings, secrets, 10**9)
    choice = ModelChoice("openai", "gpt-6-luna", "{{secrets.mine}}" if is_own else None)
    with pytest.raises(LlmError) as failed:
        llm.complete(choice, LlmRequest("gpt-6-luna", "x", 10))
    assert failed.value.code == "llm_unauthorized"
    assert ("secret 'mine'" if is_own else "platform's own") in failed.value.message
    assert "sk-abc" not in failed.value.message
