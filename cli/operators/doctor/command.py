"""The command: runs every check, prints what each saw, and ends with 1 when a protection is missing."""

import os
import sys

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from cli.operators.doctor import network, operations, secrets
from cli.operators.doctor.finding import Check, Result
from cli.operators.doctor.installation import Installation, installation
from cli.operators.options import json_option
from cli.operators.session import show
from cli.stack.locate import stack_settings
from core.errors import KeystageError

CHECKS: tuple[Check, ...] = (*network.CHECKS, *secrets.CHECKS, *operations.CHECKS)


@click.command()
@click.option("--api-url", help="Where the API is; that of the stack or of the settings when left out.")
@json_option
def doctor(api_url: str | None, as_json: bool) -> None:
    """Hold the running installation against docs/hardening.md. Exit code 1 when a protection is missing."""
    try:
        settings = stack_settings()
    except KeystageError as error:
        raise click.ClickException(error.message) from error
    except (ValidationError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    with installation(settings, os.environ, api_url) as seen:
        rows = [_row(check, seen) for check in CHECKS]
    show(rows, as_json)
    sys.exit(1 if any(row["result"] == Result.FAIL for row in rows) else 0)


def _row(check: Check, installed: Installation) -> dict[str, str]:
    seen = check.look(installed)
    return {
        "check": check.id,
        "result": seen.result.value,
        "seen": seen.what,
        "advice": seen.advice,
        "line": check.line,
    }
