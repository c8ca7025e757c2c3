"""Anthropic's messages through its official client. A schema is asked for as a tool that the model has to use."""

import json
from typing import Any

import anthropic

from pipelines.llm.errors import reading, refused, unreachable, withheld
from pipelines.llm.http import provider_client
from pipelines.llm.provider import Completion, LlmRequest, Usage

_NAME = "anthropic"
_TOOL = "give_output"
_USE_IT = f"Give your answer by calling the tool {_TOOL}."


class Anthropic:
    """One endpoint."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http = provider_client("authorization", "x-api-key", "anthropic-version")

    def complete(self, request: LlmRequest, key: str) -> Completion:
        """Ask once. Raises LlmError."""
        client = anthropic.Anthropic(api_key=key, base_url=self._base_url, http_client=self._http, max_retries=0)
        arguments = _arguments(request)
        try:
            with reading(_NAME):
                return _completion(request, client.messages.create(**arguments))
        except anthropic.APIStatusError as error:
            retry_after = error.response.headers.get("Retry-After")
            raise refused(_NAME, request.model, error.status_code, retry_after) from None
        except (anthropic.AnthropicError, ValueError) as error:
            raise unreachable(_NAME, error) from None

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


def _arguments(request: LlmRequest) -> dict[str, Any]:
    takes = request.takes
    arguments: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [{"role": "user", "content": request.prompt}],
        # a client's own estimate of a long answer must not turn into a refusal; the deadline is ours
        "timeout": None,
    }
    system, extra = request.system, dict(takes.extra)
    if takes.temperature and request.temperature is not None:
        # the client has no argument for it any more
        extra["temperature"] = min(request.temperature, 1.0)
    if request.schema is not None:
        arguments["tools"] = [
            {"name": _TOOL, "description": "Give the answer in this form.", "input_schema": dict(request.schema)}
        ]
        arguments["tool_choice"] = {"type": "tool", "name": _TOOL} if takes.forced_tool else {"type": "auto"}
        # models that think cannot be made to use a tool, but they do what they are told
        system = system if takes.forced_tool else f"{system}\n{_USE_IT}".strip()
    if system:
        arguments["system"] = system
    if extra:
        arguments["extra_body"] = extra
    return arguments


def _completion(request: LlmRequest, answer: Any) -> Completion:
    if answer.stop_reason == "refusal":
        raise withheld(_NAME, request.model)
    usage = Usage(1, answer.usage.input_tokens, answer.usage.output_tokens)
    if request.schema is None:
        text = "".join(block.text for block in answer.content if block.type == "text")
    else:
        given = [block.input for block in answer.content if block.type == "tool_use"]
        text = json.dumps(given[0]) if given else ""
    return Completion(text, usage, answer.model or request.model)
