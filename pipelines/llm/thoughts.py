"""Takes what a self-hosted model thinks out of its answer, where the server in front of it did not. Pure."""

import re
from typing import Final

_MARKS: Final = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
)
"""How thoughts begin and end."""
_END_OF_UNOPENED: Final = re.compile(r"</think>[ \t]*(?:\r?\n|\Z)")
"""Some templates put the opening mark into the prompt: the answer has the closing one alone, at a line's end."""
_CHANNEL: Final = "<|channel|>"
_FINAL: Final = "<|channel|>final<|message|>"
_END_OF_MESSAGE: Final = ("<|return|>", "<|end|>")
"""The raw format of open-weight models of OpenAI's, which think in channels of their own."""


def without_thoughts(text: str) -> str:
    """The answer behind its thoughts; an empty one when there are only thoughts."""
    begun = text.lstrip()
    if begun.startswith(_CHANNEL):
        return _final_message(begun)
    while marks := next((marks for marks in _MARKS if begun.startswith(marks[0])), None):
        text = begun = begun.partition(marks[1])[2].lstrip()
    unopened = _END_OF_UNOPENED.search(text)
    if unopened and _MARKS[0][0] not in text[: unopened.start()]:
        return text[unopened.end() :].lstrip()
    return text


def _final_message(text: str) -> str:
    message = text.rpartition(_FINAL)[2] if _FINAL in text else ""
    for mark in _END_OF_MESSAGE:
        message = message.partition(mark)[0]
    return message
