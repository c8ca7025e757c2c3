"""`sort_attribute`: orders documents by one of their fields."""

from typing import Any

from core.retrievers.filters import value_at
from core.retrievers.parameters_search import SortAttribute
from pipelines.stage import Document, StageContext, StageInput, StageOutput


def sort_attribute(stage: StageInput[SortAttribute], _: StageContext) -> StageOutput:
    """The same documents by their field: numbers before texts before the rest, equals in the order they came."""
    parameters = stage.parameters

    def place(document: Document) -> tuple[int, Any]:
        return _rank(value_at(document, parameters.field))

    documents = stage.documents or []
    present = [found for found in documents if value_at(found, parameters.field) is not None]
    missing = [found for found in documents if value_at(found, parameters.field) is None]
    present.sort(key=place, reverse=parameters.direction == "desc")
    return StageOutput(present + missing if parameters.nulls_last else missing + present)


def _rank(value: Any) -> tuple[int, Any]:
    """A key that any two values of JSON can be compared by."""
    if isinstance(value, int | float):
        return (0, value)
    return (1, value) if isinstance(value, str) else (2, str(value))
