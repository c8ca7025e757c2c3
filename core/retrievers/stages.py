"""Reads a retriever's stages in the published shapes A (flat) and B (nested), and writes B and B'. Runs nothing.

A stage of the catalogue that does not exist here yet is accepted, its parameters kept as given; executing it fails.
"""

import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from core.errors import FieldProblem, ValidationFailedError
from core.language_models.catalogue import Catalogue, catalogue
from core.retrievers.catalogue import CATALOGUE, OLDER_NAMES, StageCategory
from core.retrievers.llm_providers import model_note
from core.retrievers.parameters import check_parameters, is_filter_name, unknown_parameters
from core.retrievers.secret_places import LLM_STAGES
from core.unknown_keys import Location, UnknownKey

_MOST_STAGES = 50
_LONGEST_NAME = 200
_OPTIONS = ("description", "batch_size", "output_alias")
"""Fields of shape B that are kept and given back."""
_CONFIG_KEYS = ("stage_id", "parameters", "pre_filters", "post_filters")
_STAGE_KEYS = ("stage_name", "stage_type", "config", "on_error", *_CONFIG_KEYS, *_OPTIONS)


@dataclass(frozen=True)
class StageSpec:
    """One stage of a stored retriever."""

    stage_name: str
    """unique in its retriever; statistics go by it"""
    stage_type: str
    stage_id: str
    parameters: Mapping[str, Any]
    """as given, placeholders included"""
    on_error: Literal["skip", "error"]
    options: Mapping[str, Any]

    def to_stored(self) -> dict[str, Any]:
        """Shape B."""
        return {
            "stage_name": self.stage_name,
            "stage_type": self.stage_type,
            "config": {"stage_id": self.stage_id, "parameters": dict(self.parameters)},
            "on_error": self.on_error,
            **self.options,
        }

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> "StageSpec":
        """Read what `to_stored` wrote."""
        return cls(
            stage_name=stored["stage_name"],
            stage_type=stored["stage_type"],
            stage_id=stored["config"]["stage_id"],
            parameters=stored["config"]["parameters"],
            on_error=stored["on_error"],
            options={name: stored[name] for name in _OPTIONS if name in stored},
        )


def published_stage(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored stage as it is answered, shape B': the parameters stand at the top as well."""
    return {**stored, "parameters": stored["config"]["parameters"]}


def parse_stages(raw: object, models: Catalogue | None = None) -> list[StageSpec]:
    """Read the `stages` of a request; `models` are the published ones when none are given.

    Raises ValidationFailedError, which names every bad place in them.
    """
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise ValidationFailedError([FieldProblem(("stages",), "a list of at least one stage is needed")])
    if len(raw) > _MOST_STAGES:
        raise ValidationFailedError([FieldProblem(("stages",), f"at most {_MOST_STAGES} stages")])
    problems: list[FieldProblem] = []
    stages: list[StageSpec] = []
    for index, item in enumerate(raw):
        if not isinstance(item, Mapping):
            problems.append(FieldProblem(("stages", index), "a stage is an object"))
        elif stage := _Reading(item, index, problems, models or catalogue()).stage(
            {stage.stage_name for stage in stages}
        ):
            stages.append(stage)
    if problems:
        raise ValidationFailedError(problems)
    return stages


def ignored_keys(raw: Sequence[Any], stages: Sequence[StageSpec]) -> list[UnknownKey]:
    """What of the `stages` of a request has no effect, for the `warnings` of the answer; `stages` is what was read."""
    return [key for index, stage in enumerate(stages) for key in _ignored(raw[index], stage, ("stages", index))]


def _ignored(item: Mapping[str, Any], stage: StageSpec, at: Location) -> Iterator[UnknownKey]:
    config = item.get("config")
    inner = config if isinstance(config, Mapping) else {}
    for name, value in item.items():
        if value is not None and name not in _STAGE_KEYS:
            yield UnknownKey((*at, name), _STAGE_KEYS)
        elif value is not None and inner.get(name) not in (None, value):
            # a stage that was read from us says its parameters in both places
            yield UnknownKey((*at, name), overruled_by=f"config.{name}")
    for name, value in inner.items():
        if value is not None and name not in _CONFIG_KEYS:
            yield UnknownKey((*at, "config", name), _CONFIG_KEYS)
    where = ("config", "parameters") if inner.get("parameters") is not None else ("parameters",)
    yield from unknown_parameters(stage.stage_id, stage.parameters, (*at, *where))


def model_notes(stages: Sequence[StageSpec], models: Catalogue, day: date) -> list[str]:
    """What is to be known about the models that stages name, for the `warnings` of the answer."""
    notes = (
        (index, model_note(stage.parameters, models, day))
        for index, stage in enumerate(stages)
        if stage.stage_id in LLM_STAGES
    )
    return [f"stages.{index}: {note}" for index, note in notes if note]


def replaced_models(statistics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Which stages of an execution asked another model than they name, for the `warnings` of the answer."""
    return [
        f"{name}: {facts['asked_model']} was asked in place of {facts['requested_model']}."
        for name, facts in statistics.items()
        if facts.get("asked_model") != facts.get("requested_model")
    ]


class _Reading:
    """One stage while it is read: what it says, where it stands, and the problems found so far."""

    def __init__(self, item: Mapping[str, Any], index: int, problems: list[FieldProblem], models: Catalogue) -> None:
        self._models = models
        self._at: tuple[str | int, ...] = ("stages", index)
        self._problems = problems
        self._item = item
        config = item.get("config")
        self._inner: tuple[str, ...] = ("config",) if isinstance(config, Mapping) else ()
        self._config: Mapping[str, Any] = config if isinstance(config, Mapping) else item

    def stage(self, taken: set[str]) -> StageSpec | None:
        """The stage, or None when problems were found."""
        before = len(self._problems)
        stage_id = self._stage_id()
        stage_name = self._stage_name()
        parameters = self._parameters(stage_id)
        stage_type = self._stage_type(stage_id)
        on_error = self._item.get("on_error") or "error"
        if on_error not in ("skip", "error"):
            self._refuse(("on_error",), "must be skip or error")
        self._refuse_filters(self._item, ())
        if self._inner:
            self._refuse_filters(self._config, self._inner)
        if len(self._problems) > before:
            return None
        return StageSpec(
            stage_name=_unique(stage_name or stage_id, taken),
            stage_type=stage_type,
            stage_id=stage_id,
            parameters=parameters,
            on_error="skip" if on_error == "skip" else "error",
            options={name: self._item[name] for name in _OPTIONS if self._item.get(name) is not None},
        )

    def _stage_id(self) -> str:
        given = self._config.get("stage_id")
        stage_id = OLDER_NAMES.get(given, given) if isinstance(given, str) else ""
        if stage_id not in CATALOGUE:
            alike = difflib.get_close_matches(stage_id, CATALOGUE, n=1)
            wanted = f"did you mean {alike[0]}?" if alike else f"use one of {', '.join(CATALOGUE)}"
            self._refuse((*self._inner, "stage_id"), f"{reprlib.repr(given)} is no stage; {wanted}")
        return stage_id

    def _stage_name(self) -> str:
        given = self._item.get("stage_name") or ""
        if not isinstance(given, str) or len(given) > _LONGEST_NAME:
            self._refuse(("stage_name",), f"must be text of at most {_LONGEST_NAME} characters")
            return ""
        return given

    def _parameters(self, stage_id: str) -> Mapping[str, Any]:
        parameters = self._config.get("parameters")
        where = (*self._inner, "parameters")
        if parameters is None:
            parameters, where = self._item.get("parameters") or {}, ("parameters",)
        if not isinstance(parameters, Mapping):
            self._refuse(where, "must be an object")
            return {}
        # the official client writes its defaults of null as a text
        parameters = {name: value for name, value in parameters.items() if value != "null"}
        self._problems += check_parameters(stage_id, parameters, (*self._at, *where), self._models)
        return parameters

    def _stage_type(self, stage_id: str) -> str:
        given = self._item.get("stage_type")
        # `group` is a category of older pages; its stages are of `reduce` now
        if given is None or given == "group":
            return CATALOGUE[stage_id].value if stage_id in CATALOGUE else ""
        if given not in list(StageCategory):
            self._refuse(("stage_type",), f"must be one of {', '.join(StageCategory)}")
        return str(given)

    def _refuse_filters(self, level: Mapping[str, Any], inner: tuple[str, ...]) -> None:
        """Filters beside the parameters: nobody would look at them."""
        for name, value in level.items():
            if value and is_filter_name(name):
                self._refuse((*inner, name), "not available in this version; use an attribute_filter stage")

    def _refuse(self, where: tuple[str, ...], message: str) -> None:
        self._problems.append(FieldProblem((*self._at, *where), message))


def _unique(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it unique."""
    number = 2
    candidate = name
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
