"""What work costs, in milli-credits: one flat table for now, versioned so that any entry can be recomputed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

PRICE_VERSION = "2026-12.1"
"""Written on each ledger entry."""

MILLI = 1000
"""Milli-credits in one credit."""

CREDIT_USD = 0.001
"""What one credit costs, as published."""

_MILLI_IN_USD = 1_000_000


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


class ModelClass(StrEnum):
    """What a token costs goes by the kind of model that reads or writes it."""

    SMALL = "small"
    STANDARD = "standard"
    LARGE = "large"


_PER_1000_TOKENS = {ModelClass.SMALL: 10_000, ModelClass.STANDARD: 30_000, ModelClass.LARGE: 100_000}
"""Read and written tokens alike, with the platform's key. Published: 10 to 100 credits for the work of a model."""


def llm_price(kind: ModelClass, tokens: int) -> int:
    """Milli-credits for so many tokens of a model of this class, rounded up."""
    return -(-tokens * _PER_1000_TOKENS[kind] // 1000)


def whole_credits(amount: int) -> int:
    """Credits as the wire shows them: whole, rounded down."""
    return amount // MILLI


def pending_credits(amount: int) -> float:
    """What `whole_credits` leaves: below one credit, as the wire shows it in `pending_*`."""
    return amount % MILLI / MILLI


def usd(amount: int) -> float:
    """Milli-credits in US dollars."""
    return amount / _MILLI_IN_USD


@dataclass(frozen=True)
class Rate:
    """One line of the rate card."""

    operation: str
    unit: str
    amount: int
    """milli-credits for one unit"""


def rate_card() -> tuple[Rate, ...]:
    """Everything that costs something."""
    stages = (Rate("retriever", f"{stage_id} stage run", amount) for stage_id, amount in _STAGE_PRICES.items())
    return (
        Rate("ingestion", "object through one extractor", OBJECT_EXTRACTED),
        *stages,
        Rate("retriever", "execution, at least", EXECUTION_MINIMUM),
    )
