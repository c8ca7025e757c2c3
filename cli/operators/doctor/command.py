"""The command: runs every check, prints what each saw, and ends with 1 when a protection is missing."""

import click

from cli.operators.doctor import network, operations, secrets
from cli.operators.doctor.database import examine_database
from cli.operators.doctor.finding import Check, Result, Seen, fail
from cli.operators.doctor.installation import Installation, installation
from cli.operators.doctor.outcome import tell
from cli.operators.options import json_option, problems_option
from cli.plain_words import plain_words
from cli.stack.locate import installation_settings
from config.forms import require_url
from config.logging_setup import configure_logging
from core.storage.failures import failed_backend

CHECKS: tuple[Check, ...] = (*network.CHECKS, *secrets.CHECKS, *operations.CHECKS)


def _is_url(_ctx: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is not None:
        try:
            require_url(url, ("http", "https"))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return url and url.rstrip("/")


@click.command()
@click.option(
    "--api-url", callback=_is_url, help="Where the API is; that of the stack or of the settings when left out."
)
@click.option("--database", is_flag=True, help="Check the database alone, for all that Keystage relies on.")
@click.option("--in", "within", metavar="NAME", help="With --database: work in this database, and create none.")
@problems_option
@json_option
def doctor(api_url: str | None, database: bool, within: str | None, only_problems: bool, as_json: bool) -> None:
    """Hold the running installation against docs/hardening.md. Exit code 1 when a protection is missing."""
    if within and not database:
        raise click.UsageError("--in says where --database works: give both")
    if database:
        examine_database(within, only_problems=only_problems, as_json=as_json)
    with plain_words():
        located = installation_settings()
    # to stderr, as every command's: the look at the database may log
    configure_logging(located.settings, "operator")
    click.echo(located.whose, err=True)
    with installation(located, api_url) as seen:
        rows = [_row(check, seen) for check in CHECKS]
    tell(rows, Result.OK, Result.FAIL, "checks, no problem", only_problems=only_problems, as_json=as_json)


def _row(check: Check, installed: Installation) -> dict[str, str]:
    seen = _look(check, installed)
    return {
        "check": check.id,
        "result": seen.result.value,
        "seen": seen.what,
        "advice": seen.advice,
        "line": check.line,
    }


def _look(check: Check, installed: Installation) -> Seen:
    try:
        return check.look(installed)
    except Exception as error:
        failed = failed_backend(error)
        if failed is None:
            raise
        # it answered the check before
        return fail(failed.what, "look at its log")
