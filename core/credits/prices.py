"""What work costs, in milli-credits: one flat table for now, versioned so that any entry can be recomputed. Pure."""

from collections.abc import Sequence
from enum import StrEnum

PRICE_VERSION = "2026-11"
"""Written on each ledger entry."""

MILLI = 1000
"""Milli-credits in one credit."""


class PriceClass(StrEnum):
    """What a route's price goes by."""

    FREE = "free"
    EXTRACTION = "extraction"
    """one credit for an object through an extractor"""
    EXECUTION = "execution"
    """the sum of the retriever's stages"""


OBJECT_EXTRACTED = 1000
"""One object through one extractor."""

_STAGE_PRICES = {"feature_search": 100}
"""Stages that cost something. Published: 0.1 credit for a vector query."""

EXECUTION_MINIMUM = 10
"""An execution of free stages only still costs this much."""


def ingestion_price(objects: int) -> int:
    """Milli-credits for extracting `objects` objects."""
    return objects * OBJECT_EXTRACTED


def execution_price(stage_ids: Sequence[str]) -> int:
    """Milli-credits for running these stages once."""
    return max(EXECUTION_MINIMUM, sum(_STAGE_PRICES.get(stage_id, 0) for stage_id in stage_ids))


def whole_credits(amount: int) -> int:
    """Credits as the wire shows them: whole, rounded down."""
    return amount // MILLI
