"""`limit`: keeps a window of the list."""

from core.retrievers.parameters_search import Limit
from pipelines.stage import StageContext, StageInput, StageOutput


def limit(stage: StageInput[Limit], _: StageContext) -> StageOutput:
    """`limit` documents after the first `offset`."""
    start = stage.parameters.offset
    return StageOutput((stage.documents or [])[start : start + stage.parameters.limit])
