"""OpenAI's chat completions through its official client, and every endpoint that speaks the same protocol."""

from collections.abc import Mapping
from typing import Any

import openai

from pipelines.llm.answers import ended, named_error, opened, strange
from pipelines.llm.counting import usage_of
from pipelines.llm.http import asking, provider_client
from pipelines.llm.loose import member, objects, text_of
from pipelines.llm.provider import Completion, End, LlmRequest
from pipelines.llm.thoughts import without_thoughts

_NAME = "openai"
_TEXT_TYPES = ("text", "output_text")


class OpenAi:
    """One endpoint."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http = provider_client("authorization")

    def complete(self, request: LlmRequest, key: str) -> Completion:
        """Ask once. Raises LlmError."""
        client = openai.OpenAI(api_key=key, base_url=self._base_url, http_client=self._http, max_retries=0)
        with asking(_NAME, request.model, openai.OpenAIError):
            raw = client.chat.completions.with_raw_response.create(**_arguments(request))
        return _completion(request, opened(_NAME, request.model, raw.http_response.text))

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


def _completion(request: LlmRequest, answer: Mapping[str, Any]) -> Completion:
    """The first choice counts: one is asked for."""
    choices = answer.get("choices")
    if not isinstance(choices, list) and not (choices is None and _is_of_the_protocol(answer)):
        raise strange(_NAME)
    choice = next(iter(objects(choices)), {})
    content, refusal = member(choice.get("message"), "content"), member(choice.get("message"), "refusal")
    text, used = _text(content), answer.get("usage")
    if choice.get("error") and not text:
        # a gateway's word that the provider behind it failed
        raise named_error(_NAME, request.model, choice)
    refuses = bool(refusal) or any(part.get("type") == "refusal" for part in objects(content))
    return Completion(
        text,
        usage_of(request, text, member(used, "prompt_tokens"), member(used, "completion_tokens")),
        text_of(answer.get("model")) or request.model,
        End.REFUSAL if refuses else ended(choice.get("finish_reason")),
    )


def _is_of_the_protocol(answer: Mapping[str, Any]) -> bool:
    """Whether an answer without choices is one: some leave the member out when there is nothing in it."""
    return answer.get("object") == "chat.completion" or isinstance(answer.get("usage"), Mapping)


def _text(content: object) -> str:
    """A text, or the text parts of a list; parts of any other type are thoughts, refusals and what comes one day."""
    parts = content if isinstance(content, list) else [content]
    return without_thoughts("".join(_part(part) for part in parts))


def _part(part: object) -> str:
    if isinstance(part, Mapping):
        text = part.get("text") if part.get("type", "text") in _TEXT_TYPES else None
        # of the assistants' protocol
        return text_of(member(text, "value")) or text_of(text)
    return text_of(part)
