"""Answers that must fit a JSON schema: read, checked, and once sent back for repair. It asks nobody by itself."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from jsonschema import Draft202012Validator

from pipelines.llm.errors import LlmError, LlmFailure
from pipelines.llm.provider import Completion, LlmRequest

_FENCE = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*```\s*\Z", re.DOTALL)
_LONGEST_REPAIR = 8_000
"""Characters of a wrong answer that are shown to the model again."""


def structured(ask: Callable[[LlmRequest], Completion], request: LlmRequest) -> Completion:
    """The answer with its `value`; asked for again once when it does not fit. Raises LlmError."""
    if request.schema is None:
        return ask(request)
    first = ask(request)
    value, problem = _read(first.text, request.schema)
    if problem is None:
        return replace(first, value=value)
    again = (
        f"{request.prompt}\n\nYour last answer was not valid: {problem}\n"
        f"It was:\n{first.text[:_LONGEST_REPAIR]}\nAnswer again with valid JSON only."
    )
    second = ask(replace(request, prompt=again))
    value, problem = _read(second.text, request.schema)
    if problem is not None:
        raise LlmError(LlmFailure.INVALID_OUTPUT, "The model's answer does not fit the schema, twice.")
    return replace(second, value=value)


def _read(text: str, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return None, "it is not JSON."
    first = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
    if first is None:
        return value, None
    place = ".".join(str(part) for part in first.absolute_path) or "the whole"
    return None, f"{place} breaks the schema's rule {first.validator!r}."
