"""`keystage doctor --database`: holds a database to what Keystage relies on. It touches no data of anybody's."""

import click

from cli.operators.doctor.outcome import tell
from cli.plain_words import plain_words
from cli.stack.locate import stack_settings
from config.settings import Settings
from core.storage.abilities.ability import Finding, Result
from core.storage.abilities.examination import Examination, examine

_KNOWN = "known"
"""Missing, and named in KEYSTAGE_DATABASE_SHORTFALLS."""


def examine_database(within: str | None, *, only_problems: bool, as_json: bool) -> None:
    """Print what each ability came to; exit code 1 when one is missing that is not known to be."""
    with plain_words():
        settings = stack_settings()
    with plain_words(settings):
        found = examine(settings.mongo_url, settings.mongo_tls, within or settings.database_check_in)
    click.echo(f"checked in {found.database}, and removed again", err=True)
    tell(
        _rows(found, settings),
        Result.HOLDS,
        Result.MISSING,
        "abilities, all of them hold",
        only_problems=only_problems,
        as_json=as_json,
    )


def _rows(found: Examination, settings: Settings) -> list[dict[str, str]]:
    return [
        {
            "ability": finding.ability,
            "result": _result(finding, settings),
            "seen": finding.seen,
            "without it": finding.breaks,
        }
        for finding in found.findings
    ]


def _result(finding: Finding, settings: Settings) -> str:
    is_known = finding.result is Result.MISSING and finding.ability in settings.database_shortfalls
    return _KNOWN if is_known else finding.result.value
