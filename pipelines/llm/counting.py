"""How many tokens an answer used: what the provider counted where that can be, or an estimate of our own. Pure.

Counts are charged by, and a provider may write anything there. None is taken that what was sent and the bound that was
asked for do not allow.
"""

from core.retrievers.estimate import tokens_of
from pipelines.llm.provider import LlmRequest, Usage

_MOST_AROUND = 1000
"""Tokens that a provider may add to what is sent: roles, tools, its own words about a schema."""


def usage_of(request: LlmRequest, text: str, read: object, written: object) -> Usage:
    """The usage by a provider's counts of tokens that it read and wrote; `text` is what its answer says.

    What is no count of this call is estimated, but for an answer without text: of that only what is counted is used.
    """
    # a token has at least one byte
    sent = request.bytes_read
    counted = Usage(1, _count(read, sent + _MOST_AROUND), _count(written, request.max_tokens))
    if not text:
        return counted
    size = len(text.encode("utf-8", "replace"))
    # no answer comes of nothing, so a count of 0 is none
    return Usage(
        1,
        counted.input_tokens or tokens_of(sent),
        counted.output_tokens or min(tokens_of(size), request.max_tokens),
    )


def _count(value: object, most: int) -> int:
    return value if type(value) is int and 0 <= value <= most else 0
