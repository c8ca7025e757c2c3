"""What operator commands share: the services of the located stack, errors in plain words, and the entry in the
organization's audit log that says what was done. It does nothing by itself.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
import orjson
from pydantic import ValidationError
from pydantic_settings import SettingsError

from cli.stack.locate import stack_settings
from config.logging_setup import configure_logging
from core.audit.actions import AuditAction
from core.audit.entry import OPERATOR, AuditRecord, AuditStatus
from core.bootstrap import Services, build_services
from core.errors import KeystageError
from core.outgoing import rfc3339, to_json
from core.storage.scope import OrganizationScope


@contextmanager
def operator_session() -> Iterator[Services]:
    """The stack's services. What goes wrong ends the command with a sentence and exit code 1."""
    try:
        settings = stack_settings()
        # to stderr, and masked: stdout has the command's answer alone
        configure_logging(settings, "operator")
        services = build_services(settings)
    except KeystageError as error:
        raise click.ClickException(error.message) from error
    except (ValidationError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    try:
        yield services
    except KeystageError as error:
        raise click.ClickException(error.message) from error
    finally:
        services.close()


def record(
    services: Services,
    scope: OrganizationScope,
    action: AuditAction,
    resource_id: str,
    status: AuditStatus = AuditStatus.ATTEMPTED,
) -> None:
    """Have the organization's audit log say what the operator is about to do, or what came of it.

    Raises UnavailableError when it cannot be written: then nothing is to be done.
    """
    services.audit.append(scope, AuditRecord(action, action.resource_type, resource_id, status, OPERATOR))


def show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows as JSON or as a table whose columns are the rows' fields."""
    if as_json:
        print_json(list(rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in rows[0] if rows else ["nothing found"]:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(to_json(value, orjson.OPT_INDENT_2, unknown=str).decode())


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    return "" if value is None else str(value)
