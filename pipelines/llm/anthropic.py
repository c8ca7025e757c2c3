"""Anthropic's messages through its official client. A schema is asked for as a tool that the model has to use."""

import json
from collections.abc import Mapping
from typing import Any

import anthropic

from pipelines.llm.answers import ended, opened, strange
from pipelines.llm.counting import usage_of
from pipelines.llm.http import asking, provider_client
from pipelines.llm.loose import member, objects, text_of
from pipelines.llm.provider import Completion, LlmRequest

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
        with asking(_NAME, request.model, anthropic.AnthropicError):
            raw = client.messages.with_raw_response.create(**_arguments(request))
        return _completion(request, opened(_NAME, request.model, raw.http_response.text))

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


def _completion(request: LlmRequest, answer: Mapping[str, Any]) -> Completion:
    content, used = answer.get("content"), answer.get("usage")
    if "content" not in answer or type(content) in (int, float, bool):
        raise strange(_NAME)
    text = _text(content) if request.schema is None else _value(content) or _text(content)
    return Completion(
        text,
        usage_of(request, text, member(used, "input_tokens"), member(used, "output_tokens")),
        text_of(answer.get("model")) or request.model,
        ended(answer.get("stop_reason")),
    )


def _text(content: object) -> str:
    """The text blocks; blocks of any other type are thoughts, tools and what comes one day."""
    # some gateways leave out the type of a text
    blocks = [block.get("text") for block in objects(content) if block.get("type", "text") == "text"]
    return text_of(content) or "".join(text_of(text) for text in blocks)


def _value(content: object) -> str:
    """What the tool was given, as JSON; some gateways give it as a text."""
    given = [block.get("input") for block in objects(content) if block.get("type") == "tool_use"]
    return "\n".join(value if isinstance(value, str) else json.dumps(value) for value in given)
