"""`sort_relevance`: orders documents by a score."""

from core.retrievers.filters import value_at
from core.retrievers.parameters_search import SortRelevance
from pipelines.stage import Document, StageContext, StageInput, StageOutput


def sort_relevance(stage: StageInput[SortRelevance], _: StageContext) -> StageOutput:
    """The same documents, best first (or last); one without a score counts as `missing_score`, or comes last."""
    parameters = stage.parameters
    sign = 1 if parameters.direction == "asc" else -1

    def place(document: Document) -> tuple[bool, float]:
        score = value_at(document, parameters.score_field)
        number = score if isinstance(score, int | float) else parameters.missing_score
        return (number is None, 0.0 if number is None else sign * number)

    return StageOutput(sorted(stage.documents or [], key=place))
