"""`feature_search`: finds documents by meaning, by words, or by several of both fused to one ranking."""

from core.retrievers.parameters_search import FeatureSearch
from pipelines.searching import find
from pipelines.stage import StageContext, StageInput, StageOutput, document_of


def feature_search(stage: StageInput[FeatureSearch], context: StageContext) -> StageOutput:
    """The best documents of the retriever's collections; after another stage, the best of its documents."""
    found = find(stage.parameters, stage.documents, context)
    facts = {"warnings": found.warnings} if found.warnings else {}
    return StageOutput([document_of(hit.payload, hit.score) for hit in found.hits], facts=facts)
