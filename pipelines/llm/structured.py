"""Answers that can be used: with text, and with a schema one that fits it, asked for once more where it does not.

It asks nobody by itself.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from core.errors import StageError
from core.plain_values import plain
from pipelines.llm.errors import BudgetExhaustedError, LlmError, LlmFailure
from pipelines.llm.json_in_text import json_values
from pipelines.llm.provider import Completion, End, LlmRequest


def _unique_items(validator: Any, wanted: bool, instance: Any, _: Any) -> Iterator[ValidationError]:
    """The library compares each item with each other one, for which a model can write too many."""
    if wanted and validator.is_type(instance, "array"):
        written = {json.dumps(item, sort_keys=True) for item in instance}
        if len(written) < len(instance):
            yield ValidationError("has an item twice")


_Validator = extend(Draft202012Validator, {"uniqueItems": _unique_items})  # type: ignore[no-untyped-call]  # untyped there
_LONGEST_REPAIR = 8_000
"""Characters of a wrong answer that are shown to the model again."""
_LARGER_BOUNDS = (4, 2)
"""Times the bound that cut an answer: the largest that the hold allows."""
_MOST_VALUES = 50
"""Values of one answer that are held against the schema, from the last one on."""


def structured(ask: Callable[[LlmRequest], Completion], request: LlmRequest) -> Completion:
    """The answer, which has text, or with a schema a `value` that fits it.

    For that it is asked for once more: with a larger bound when it was cut, and else with what is wrong about it.
    Raises LlmError.
    """
    first = ask(request)
    if request.schema is None:
        return _with_text(first, request)
    if first.end is End.MAX_TOKENS:
        second = _with_a_larger_bound(ask, request)
    else:
        value, problem = _read(_whole(first, request).text, request.schema)
        if problem is None:
            return replace(first, value=value)
        second = ask(replace(request, prompt=_repair_prompt(request, first, problem)))
    value, problem = _read(_whole(second, request).text, request.schema)
    if problem is not None:
        raise LlmError(LlmFailure.INVALID_OUTPUT, "The model's answer does not fit the schema, twice.")
    return replace(second, value=value)


def _with_text(answer: Completion, request: LlmRequest) -> Completion:
    """The answer. Raises LlmError for a refusal, and for one that says nothing."""
    model = f"The model {request.model!r}"
    if answer.end is End.REFUSAL:
        raise LlmError(LlmFailure.REFUSED, f"{model} declined to answer.")
    if answer.text.strip():
        return answer
    match answer.end:
        case End.CONTENT_FILTER:
            raise LlmError(LlmFailure.REFUSED, f"A content filter took the answer of the model {request.model!r}.")
        case End.MAX_TOKENS:
            raise LlmError(LlmFailure.TRUNCATED, f"{model} used all of max_tokens before the first word of its answer.")
        case _:
            raise LlmError(LlmFailure.EMPTY, f"{model} gave an answer without text.")


def _whole(answer: Completion, request: LlmRequest) -> Completion:
    """The answer, of which nothing is missing. Raises LlmError."""
    _with_text(answer, request)
    if answer.end is End.CONTENT_FILTER:
        raise LlmError(LlmFailure.REFUSED, f"A content filter cut the answer of the model {request.model!r}.")
    if answer.end is not End.WHOLE:
        raise _cut(f"it ended by {answer.end.value}.")
    return answer


def _with_a_larger_bound(ask: Callable[[LlmRequest], Completion], request: LlmRequest) -> Completion:
    """The answer to the same question, with more room for it. Raises LlmError."""
    why = "max_tokens cannot be larger."
    for times in _LARGER_BOUNDS:
        bound = min(times * request.max_tokens, request.most_output)
        if bound <= request.max_tokens:
            break
        try:
            return ask(replace(request, max_tokens=bound))
        except BudgetExhaustedError:
            why = "the credits held allow no larger max_tokens."
        except LlmError as error:
            if error.failure is not LlmFailure.REFUSED:
                raise
            raise _cut("the model takes no larger max_tokens.") from None
    raise _cut(why)


def _cut(why: str) -> LlmError:
    return LlmError(LlmFailure.TRUNCATED, f"The model's answer is cut, and a part of it fits no schema: {why}")


def _repair_prompt(request: LlmRequest, answer: Completion, problem: str) -> str:
    return (
        f"{request.prompt}\n\nYour last answer was not valid: {problem}\n"
        f"It was:\n{answer.text[:_LONGEST_REPAIR]}\nAnswer again with valid JSON only."
    )


def _read(text: str, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The value that counts, or else the problem: the last of the text's that fits, as models think before they answer
    and correct themselves."""
    problems = []
    for found in json_values(text)[: -_MOST_VALUES - 1 : -1]:
        value, problem = _checked(found, schema)
        if problem is None:
            return value, None
        problems.append(problem)
    return None, problems[0] if problems else "it is not JSON."


def _checked(found: Any, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    try:
        value = plain(found)
    except StageError as error:
        return None, f"{error.message}."
    first = next(iter(_Validator(schema).iter_errors(value)), None)
    if first is None:
        return value, None
    place = ".".join(str(part) for part in first.absolute_path) or "the whole"
    return None, f"{place} breaks the schema's rule {first.validator!r}."
