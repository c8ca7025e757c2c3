"""`attribute_filter`: keeps the documents whose fields fit; as the first stage it finds them by their fields."""

from core.retrievers.filters import matches
from core.retrievers.narrowing import narrowed
from core.retrievers.parameters_search import MOST_DOCUMENTS, AttributeFilter
from core.storage.vectors.filters import All, AnyOf
from pipelines.stage import Document, StageContext, StageInput, StageOutput, document_of


def attribute_filter(stage: StageInput[AttributeFilter], context: StageContext) -> StageOutput:
    """The documents that pass, in the order they came; found by this stage, in the order of their ids."""
    parameters = stage.parameters
    expression = parameters.expression
    if stage.documents is None:
        candidates, truncated = _candidates(stage, context)
    else:
        candidates, truncated = stage.documents, False
    passed = [found for found in candidates if matches(expression, found, parameters.case_insensitive)]
    return StageOutput(passed, truncated)


def _candidates(stage: StageInput[AttributeFilter], context: StageContext) -> tuple[list[Document], bool]:
    """Documents that the vector store lets through: it compares exactly, so ignoring case leaves all to us."""
    collections = AnyOf("collection_id", context.collection_ids)
    parameters = stage.parameters
    narrow = collections if parameters.case_insensitive else All((collections, narrowed(parameters.expression)))
    hits = context.vectors.scroll(context.namespace_id, narrow, MOST_DOCUMENTS + 1)
    found = [document_of(hit.payload, hit.score) for hit in hits[:MOST_DOCUMENTS]]
    return found, len(hits) > MOST_DOCUMENTS
