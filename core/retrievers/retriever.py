"""A retriever: an ordered list of stages with the inputs they take. Immutable once stored. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import FieldProblem, ValidationFailedError

_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "text": (str,),
    "date": (str,),
    "datetime": (str,),
    "number": (int, float),
    "float": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
"""What an input's declared type takes. Types that are not here take anything."""


@dataclass(frozen=True)
class Retriever:
    """A stored pipeline that answers questions over collections."""

    retriever_id: str
    retriever_name: str
    description: str | None
    collection_ids: tuple[str, ...]
    stages: tuple[Mapping[str, Any], ...]
    """in the stored shape B: stage_name, stage_type, config{stage_id, parameters}"""
    input_schema: Mapping[str, Mapping[str, Any]]
    """input → {"type", "required", "default", …}"""
    metadata: Mapping[str, Any]
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime

    @property
    def stage_ids(self) -> list[str]:
        """The kinds of its stages, in order."""
        return [stage["config"]["stage_id"] for stage in self.stages]


def fill_inputs(retriever: Retriever, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of one execution, with defaults. Raises ValidationFailedError, naming each bad input."""
    inputs, problems = dict(given), []
    for name, declared in retriever.input_schema.items():
        if name not in inputs:
            if declared.get("default") is not None:
                inputs[name] = declared["default"]
            elif declared.get("required"):
                problems.append(FieldProblem(("inputs", name), "this retriever needs it", "missing"))
        elif not _fits(inputs[name], declared):
            problems.append(FieldProblem(("inputs", name), f"must be of type {declared['type']}"))
    if problems:
        raise ValidationFailedError(problems)
    return inputs


def _fits(value: object, declared: Mapping[str, Any]) -> bool:
    if value is None:
        return not declared.get("required")
    return fits_type(value, declared["type"])


def fits_type(value: object, type_name: str) -> bool:
    """Whether an input is of its declared type; JSON makes no difference between 2 and 2.0."""
    accepted = _PYTHON_TYPES.get(type_name)
    if accepted is None:
        return True
    if isinstance(value, bool):
        return bool in accepted
    return isinstance(value, accepted) or (int in accepted and isinstance(value, float) and value.is_integer())
