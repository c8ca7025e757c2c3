"""Every stage and extractor that can be saved can also be run, and the other way round."""

from core.collections.extractor_parameters import EXTRACTORS as EXTRACTOR_PARAMETERS
from core.retrievers.parameters import STAGE_PARAMETERS
from pipelines.extractors.registry import EXTRACTORS
from pipelines.registry import FINDING_STAGES, STAGES


def test_stages_have_code_and_parameters() -> None:
    assert STAGES.keys() == STAGE_PARAMETERS.keys()
    assert STAGES.keys() >= FINDING_STAGES


def test_extractors_have_code_and_parameters() -> None:
    assert EXTRACTORS.keys() == EXTRACTOR_PARAMETERS.keys()
