"""OpenAI's chat completions through its official client, and every endpoint that speaks the same protocol."""

from typing import Any

import openai

from pipelines.llm.errors import reading, refused, unreachable, withheld
from pipelines.llm.http import provider_client
from pipelines.llm.provider import Completion, LlmRequest, Usage

_NAME = "openai"


class OpenAi:
    """One endpoint."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http = provider_client("authorization")

    def complete(self, request: LlmRequest, key: str) -> Completion:
        """Ask once. Raises LlmError."""
        client = openai.OpenAI(api_key=key, base_url=self._base_url, http_client=self._http, max_retries=0)
        arguments = _arguments(request)
        try:
            with reading(_NAME):
                return _completion(request, client.chat.completions.create(**arguments))
        except openai.APIStatusError as error:
            retry_after = error.response.headers.get("Retry-After")
            raise refused(_NAME, request.model, error.status_code, retry_after) from None
        except (openai.OpenAIError, ValueError) as error:
            raise unreachable(_NAME, error) from None

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


def _arguments(request: LlmRequest) -> dict[str, Any]:
    system = [{"role": "system", "content": request.system}] if request.system else []
    arguments: dict[str, Any] = {
        "model": request.model,
        "messages": [*system, {"role": "user", "content": request.prompt}],
    }
    takes = request.takes
    arguments[takes.bound] = request.max_tokens
    if takes.temperature and request.temperature is not None:
        arguments["temperature"] = request.temperature
    if takes.extra:
        arguments["extra_body"] = takes.extra
    if request.schema is not None:
        schema = {"name": "output", "schema": dict(request.schema), "strict": False}
        arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
    return arguments


def _completion(request: LlmRequest, answer: Any) -> Completion:
    choice = answer.choices[0]
    if choice.finish_reason == "content_filter" or choice.message.refusal:
        raise withheld(_NAME, request.model)
    used = answer.usage
    usage = Usage(1, used.prompt_tokens or 0, used.completion_tokens or 0) if used else Usage(1)
    return Completion(choice.message.content or "", usage, answer.model or request.model)
