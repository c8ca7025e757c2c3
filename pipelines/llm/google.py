"""Google's generateContent through its official client, with an API key and never with the machine's credentials."""

from typing import Any

import httpx2
from google import genai
from google.genai import errors, types

from pipelines.llm.errors import reading, refused, unreachable, withheld
from pipelines.llm.http import provider_client
from pipelines.llm.provider import Completion, LlmRequest, Usage

_NAME = "google"
_KEY_HEADER = "x-goog-api-key"
_NO_KEY = "each-request-brings-its-own"
_WITHHELD = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"})


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
        try:
            with reading(_NAME):
                answer = self._client.models.generate_content(
                    model=request.model, contents=request.prompt, config=configuration
                )
                return _completion(request, answer)
        except errors.APIError as error:
            headers = getattr(error.response, "headers", None) or {}
            raise refused(_NAME, request.model, error.code, headers.get("Retry-After")) from None
        except (httpx2.HTTPError, ValueError) as error:
            # this client has no error of its own for a line that broke: it lets those of its HTTP client through
            raise unreachable(_NAME, error) from None

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


def _configuration(request: LlmRequest, key: str) -> types.GenerateContentConfig:
    structured: dict[str, Any] = {}
    if request.schema is not None:
        structured = {"response_mime_type": "application/json", "response_json_schema": dict(request.schema)}
    return types.GenerateContentConfig(
        http_options=types.HttpOptions(headers={_KEY_HEADER: key}, extra_body=request.takes.extra or None),
        system_instruction=request.system or None,
        temperature=request.temperature if request.takes.temperature else None,
        max_output_tokens=request.max_tokens,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        **structured,
    )


def _completion(request: LlmRequest, answer: types.GenerateContentResponse) -> Completion:
    if not answer.candidates:
        if answer.prompt_feedback:
            raise withheld(_NAME, request.model)
        raise LookupError("no candidates")
    candidate = answer.candidates[0]
    if candidate.finish_reason and candidate.finish_reason.value in _WITHHELD:
        raise withheld(_NAME, request.model)
    parts = candidate.content.parts if candidate.content and candidate.content.parts else []
    used = answer.usage_metadata
    written = ((used.candidates_token_count or 0) + (used.thoughts_token_count or 0)) if used else 0
    usage = Usage(1, (used.prompt_token_count or 0) if used else 0, written)
    text = "".join(part.text or "" for part in parts if not part.thought)
    return Completion(text, usage, answer.model_version or request.model)
