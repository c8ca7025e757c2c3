"""Which extractor a collection names: one line each. No discovery."""

from collections.abc import Mapping
from typing import Final

from core.errors import StageUnavailableError
from pipelines.extractors.extractor import Extractor
from pipelines.extractors.text import extract_text

EXTRACTORS: Final[Mapping[tuple[str, str], Extractor]] = {("text_extractor", "v1"): extract_text}
"""(name, version) → the code. `core/collections/extractor_parameters.py` has the parameters of each."""


def extractor_named(name: str, version: str) -> Extractor:
    """The extractor. Raises StageUnavailableError for one that does not exist here."""
    try:
        return EXTRACTORS[name, version]
    except KeyError:
        raise StageUnavailableError(f"The extractor {name} {version} is not available in this version.") from None
