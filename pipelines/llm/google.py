"""Google's generateContent through its official client, with an API key and never with the machine's credentials."""

from collections.abc import Mapping
from typing import Any

from google import genai
from google.genai import errors, types

from pipelines.llm.answers import ended, opened, strange
from pipelines.llm.counting import usage_of
from pipelines.llm.http import asking, provider_client
from pipelines.llm.loose import member, objects, text_of
from pipelines.llm.provider import Completion, End, LlmRequest

_NAME = "google"
_KEY_HEADER = "x-goog-api-key"
_MEMBERS = frozenset({"candidates", "usageMetadata", "promptFeedback"})
_NO_KEY = "each-request-brings-its-own"


class Google:
    """One endpoint."""

    def __init__(self, base_url: str) -> None:
        self._http = provider_client(_KEY_HEADER)
        # making this client takes half a second, so there is one for all keys: each request brings its own
        self._client = genai.Client(
            vertexai=False,
            api_key=_NO_KEY,
            http_options=types.HttpOptions(base_url=base_url, api_version="v1beta", httpx_client=self._http),
        )

    def complete(self, request: LlmRequest, key: str) -> Completion:
        """Ask once. Raises LlmError."""
        configuration = _configuration(request, key)
        with asking(_NAME, request.model, errors.APIError):
            raw = self._client.models.generate_content(
                model=request.model, contents=request.prompt, config=configuration
            ).sdk_http_response
        return _completion(request, opened(_NAME, request.model, text_of(raw and raw.body)))

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


def _configuration(request: LlmRequest, key: str) -> types.GenerateContentConfig:
    structured: dict[str, Any] = {}
    if request.schema is not None:
        structured = {"response_mime_type": "application/json", "response_json_schema": dict(request.schema)}
    return types.GenerateContentConfig(
        http_options=types.HttpOptions(headers={_KEY_HEADER: key}, extra_body=request.takes.extra or None),
        should_return_http_response=True,
        system_instruction=request.system or None,
        temperature=request.temperature if request.takes.temperature else None,
        max_output_tokens=request.max_tokens,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        **structured,
    )


def _completion(request: LlmRequest, answer: Mapping[str, Any]) -> Completion:
    """The first candidate counts: one is asked for. An answer may leave out whatever is empty, candidates too."""
    found, used = answer.get("candidates"), answer.get("usageMetadata")
    if answer.keys().isdisjoint(_MEMBERS) or not isinstance(found, list | None):
        raise strange(_NAME)
    candidate = next(iter(objects(found)), {})
    parts = objects(member(candidate.get("content"), "parts"))
    text = "".join(text_of(part.get("text")) for part in parts if not part.get("thought"))
    blocked = not candidate and member(answer.get("promptFeedback"), "blockReason")
    return Completion(
        text,
        usage_of(request, text, member(used, "promptTokenCount"), _written(used)),
        text_of(answer.get("modelVersion")) or request.model,
        End.REFUSAL if blocked else ended(candidate.get("finishReason")),
    )


def _written(used: object) -> object:
    """Thoughts are written too, and counted apart; a count of 0 is left out."""
    counts = [member(used, name) or 0 for name in ("candidatesTokenCount", "thoughtsTokenCount")]
    return sum(counts) if all(type(count) is int and count >= 0 for count in counts) else None
