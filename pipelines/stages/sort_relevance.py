"""`sort_relevance`: orders documents by a score."""

from core.retrievers.filters import value_at
from core.retrievers.parameters_search import SortRelevance
from pipelines.stage import Document, StageContext, StageInput, StageOutput


def sort_relevance(stage: StageInput[SortRelevance], _: StageContext) -> StageOutput:
    """The same documents, best first (or last); one without a score stands or counts as `missing_score` says."""
    documents, parameters = stage.documents or [], stage.parameters
    scores = [_score(document, parameters) for document in documents]
    scored = [(document, score) for document, score in zip(documents, scores, strict=True) if score is not None]
    unscored = [document for document, score in zip(documents, scores, strict=True) if score is None]
    best_first = parameters.direction == "desc"
    # by the negative and not in reverse: documents of one score keep their order
    scored.sort(key=lambda pair: -pair[1] if best_first else pair[1])
    ordered = [document for document, _ in scored]
    match parameters.missing_score:
        case "top":
            return StageOutput(unscored + ordered)
        case "preserve":
            following = iter(ordered)
            pairs = zip(documents, scores, strict=True)
            return StageOutput([document if score is None else next(following) for document, score in pairs])
        case _:
            return StageOutput(ordered + unscored)


def _score(document: Document, parameters: SortRelevance) -> float | None:
    score = value_at(document, parameters.score_field)
    if isinstance(score, int | float) and not isinstance(score, bool):
        return score
    return parameters.missing_score if isinstance(parameters.missing_score, float) else None
