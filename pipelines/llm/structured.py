"""Answers that must fit a JSON schema: read, checked, and once sent back for repair. It asks nobody by itself."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from core.errors import StageError
from core.plain_values import parsed, plain
from pipelines.llm.errors import LlmError, LlmFailure
from pipelines.llm.provider import Completion, LlmRequest


def _unique_items(validator: Any, wanted: bool, instance: Any, _: Any) -> Iterator[ValidationError]:
    """The library compares each item with each other one, for which a model can write too many."""
    if wanted and validator.is_type(instance, "array"):
        written = {json.dumps(item, sort_keys=True) for item in instance}
        if len(written) < len(instance):
            yield ValidationError("has an item twice")


_Validator = extend(Draft202012Validator, {"uniqueItems": _unique_items})  # type: ignore[no-untyped-call]  # untyped there
_FENCE = "```"
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
    try:
        value = plain(parsed(_unfenced(text)))
    except StageError as error:
        return None, f"{error.message}."
    except ValueError:
        return None, "it is not JSON."
    first = next(iter(_Validator(schema).iter_errors(value)), None)
    if first is None:
        return value, None
    place = ".".join(str(part) for part in first.absolute_path) or "the whole"
    return None, f"{place} breaks the schema's rule {first.validator!r}."


def _unfenced(text: str) -> str:
    """The text without the fence that models like to put around JSON. Models also write spaces without end, which a
    pattern with several places for them would take longer than a lifetime to refuse."""
    bare = text.strip()
    if len(bare) < 2 * len(_FENCE) or not (bare.startswith(_FENCE) and bare.endswith(_FENCE)):
        return bare
    return bare.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("json").strip()
