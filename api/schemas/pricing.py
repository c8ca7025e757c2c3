"""The rate card on the wire. It shows prices, and nothing of anybody's."""

from typing import Any

from api.schemas.fields import Answer, View
from core.collections.extractor_parameters import EXTRACTORS
from core.credits.prices import CREDIT_USD, MILLI, PRICE_VERSION, Rate, rate_card, usd


class RateView(View):
    """One line of the rate card."""

    operation_type: str
    """The kind of operation."""
    unit: str
    """What is counted."""
    credits: float
    """Credits for one."""
    cost_usd: float
    """US dollars for one."""


class ExtractorPriceView(View):
    """An extractor that can be used."""

    feature_extractor_name: str
    """The extractor."""
    description: str
    """What is charged."""


class PricingView(Answer):
    """The published PricingConfigResponse. No plans are sold here, so their lists are empty; `rates` are the prices."""

    price_version: str
    """Which table of prices this is; each entry of the ledger names its own."""
    currency: str
    """`usd`"""
    credit_rate_usd: float
    """US dollars for one credit."""
    rates: list[RateView]
    """Everything that costs something."""
    extractors: list[ExtractorPriceView]
    """The extractors."""
    managed_plans: list[dict[str, Any]]
    """None."""
    mvs_plans: list[dict[str, Any]]
    """None."""
    mvs_usage_rates: dict[str, Any]
    """None: vectors cost nothing of their own."""
    enterprise_defaults: dict[str, Any]
    """None."""


def show_pricing() -> PricingView:
    """The rate card."""
    extractors = [
        ExtractorPriceView(feature_extractor_name=name, description=f"Version {version}; charged for each object.")
        for name, version in EXTRACTORS
    ]
    return PricingView(
        price_version=PRICE_VERSION,
        currency="usd",
        credit_rate_usd=CREDIT_USD,
        rates=list(map(_show_rate, rate_card())),
        extractors=extractors,
        managed_plans=[],
        mvs_plans=[],
        mvs_usage_rates={},
        enterprise_defaults={},
    )


def _show_rate(rate: Rate) -> RateView:
    return RateView(
        operation_type=rate.operation, unit=rate.unit, credits=rate.amount / MILLI, cost_usd=usd(rate.amount)
    )
