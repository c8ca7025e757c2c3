"""What providers' answers have in common: read with care, as anything may stand anywhere in them. It asks nobody."""

from collections.abc import Mapping
from typing import Any, Final

from core.plain_values import parsed_or_none
from pipelines.llm.errors import LlmError, LlmFailure, refused
from pipelines.llm.loose import member
from pipelines.llm.provider import End

_STREAM = ("data:", "event:", ":")
"""How a stream of events begins, and JSON never does."""

_WORDS: Final[Mapping[End, frozenset[str]]] = {
    End.MAX_TOKENS: frozenset({"length", "max_tokens", "max_output_tokens", "continuation"}),
    End.CONTEXT_WINDOW: frozenset({"model_length", "model_context_window_exceeded"}),
    End.CONTENT_FILTER: frozenset(
        {"content_filter", "content_filtered", "safety", "recitation", "language", "blocklist", "prohibited_content"}
        | {"spii", "image_safety", "image_prohibited_content", "image_recitation", "model_armor", "escalation"}
        | {"pup_limited_disabled"}
    ),
    End.INTERRUPTED: frozenset(
        {"error", "abort", "cancelled", "insufficient_system_resource", "other", "malformed_response"}
        | {"malformed_function_call", "unexpected_tool_call", "too_many_tool_calls", "missing_thought_signature"}
        | {"pause_turn"}
    ),
    End.REFUSAL: frozenset({"refusal"}),
}
"""Finish reasons of all three protocols in lower case: no word means two things, and gateways mix them."""
_ENDS = {word: end for end, words in _WORDS.items() for word in words}


def opened(provider: str, model: str, body: str) -> Mapping[str, Any]:
    """The object that a body is. Raises LlmError for one that is none, and for an error in an answer's clothes."""
    if body.lstrip().startswith(_STREAM):
        raise LlmError(LlmFailure.UNREADABLE, f"{provider} sent a stream of events where one answer was asked for.")
    answer = parsed_or_none(body)
    if not isinstance(answer, Mapping):
        raise strange(provider)
    if answer.get("error"):
        raise named_error(provider, model, answer)
    return answer


def named_error(provider: str, model: str, holder: Mapping[str, Any]) -> LlmError:
    """The error that stands in the member `error` of an answer, or of a part of one."""
    return refused(provider, model, _status_of(holder["error"]), None, holder)


def strange(provider: str) -> LlmError:
    """The error for an answer that is none of the protocol's: a proxy's page, say."""
    return LlmError(LlmFailure.UNAVAILABLE, f"{provider} gave no answer of its protocol.")


def ended(reason: object) -> End:
    """Why an answer ended. A word that no protocol has says nothing, as none at all does."""
    return _ENDS.get(reason.lower(), End.WHOLE) if isinstance(reason, str) else End.WHOLE


def _status_of(error: object) -> int:
    """The HTTP status that an error would have come with."""
    code, kind = member(error, "code"), f"{member(error, 'code')} {member(error, 'type')}"
    if type(code) is int and 400 <= code < 600:
        return code
    if "rate_limit" in kind:
        return 429
    return 400 if "invalid_request" in kind else 503
