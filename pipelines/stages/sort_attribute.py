"""`sort_attribute`: orders documents by one of their fields."""

from typing import Any

from core.retrievers.comparing import sort_key
from core.retrievers.filters import value_at
from core.retrievers.parameters_search import SortAttribute
from pipelines.stage import Document, StageContext, StageInput, StageOutput


def sort_attribute(stage: StageInput[SortAttribute], _: StageContext) -> StageOutput:
    """The same documents by their field: numbers, dates, other texts, then the rest; equals in the order they came."""
    parameters = stage.parameters

    def place(document: Document) -> tuple[int, Any]:
        return sort_key(value_at(document, parameters.field))

    documents = stage.documents or []
    present = [found for found in documents if value_at(found, parameters.field) is not None]
    missing = [found for found in documents if value_at(found, parameters.field) is None]
    present.sort(key=place, reverse=parameters.direction == "desc")
    return StageOutput(present + missing if parameters.nulls_last else missing + present)
