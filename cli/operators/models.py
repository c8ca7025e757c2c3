"""`keystage models`: the language models that stages may name, which of them is asked on a day, and what each takes."""

from datetime import date, datetime
from typing import Any

import click

from cli.operators.options import json_option
from cli.operators.session import show
from cli.plain_words import plain_words
from config.language_models import LanguageModel
from config.settings import load_settings
from core.clock import now
from core.language_models.catalogue import Catalogue, LlmProvider, catalogue, overrides_text


@click.command()
@click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), help="A day, such as 2027-01-14; today when left out.")
@json_option
def models(day: datetime | None, as_json: bool) -> None:
    """List the models of config/language_models.toml and KEYSTAGE_MODELS. A name with a * describes all that fit it."""
    with plain_words():
        known = catalogue(overrides_text(load_settings().models))
    on = (day or now()).date()
    rows = [
        (_whole_row if as_json else _short_row)(name, entry, known, on)
        for provider in LlmProvider
        for name, entry in known.entries().items()
        if entry.provider == provider
    ]
    show(rows, as_json)


def _short_row(name: str, entry: LanguageModel, known: Catalogue, on: date) -> dict[str, Any]:
    takes: list[str] = [entry.bound] if entry.provider == LlmProvider.OPENAI.value else []
    takes += ["temperature", *entry.extra] if entry.temperature else entry.extra
    return {
        "name": f"{name} (default)" if entry.default else name,
        "provider": entry.provider,
        "asked as": _asked(name, entry, known, on),
        "until": entry.since,
        "then": entry.successor,
        "takes": ", ".join(takes),
        "class": known.price_class(name).value,
    }


def _whole_row(name: str, entry: LanguageModel, known: Catalogue, on: date) -> dict[str, Any]:
    return {
        "name": name,
        "provider": entry.provider,
        "aliases": entry.aliases,
        "default": entry.default,
        "asked_as": _asked(name, entry, known, on),
        "successor": entry.successor,
        "from": entry.since,
        "class": known.price_class(name).value,
        "window": entry.window,
        "output": entry.output,
        "parameters": {
            "bound": entry.bound,
            "temperature": entry.temperature,
            "forced_tool": entry.forced_tool,
            "extra": entry.extra,
        },
    }


def _asked(name: str, entry: LanguageModel, known: Catalogue, on: date) -> str:
    return known.asked(name, entry.provider, on).name
