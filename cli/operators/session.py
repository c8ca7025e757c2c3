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

from cli.plain_words import plain_words
from cli.stack.locate import stack_settings
from config.logging_setup import configure_logging
from core.audit.actions import AuditAction
from core.audit.entry import OPERATOR, AuditRecord, AuditStatus
from core.bootstrap import Services, build_services
from core.outgoing import rfc3339, to_json
from core.storage.abilities.first_start import require_fit
from core.storage.scope import OrganizationScope


@contextmanager
def operator_session() -> Iterator[Services]:
    """The stack's services, on a database that is fit for them. What goes wrong ends the command with a sentence and
    exit code 1."""
    with plain_words():
        settings = stack_settings()
    # to stderr, and masked: stdout has the command's answer alone
    configure_logging(settings, "operator")
    with plain_words(settings):
        # as each process does at its start: services make indexes, and commands write
        require_fit(settings)
        services = build_services(settings)
        try:
            yield services
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


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, total: int | None = None) -> None:
    """Print rows as JSON or as a table whose columns are the rows' fields; a table of only some of `total` says so."""
    if as_json:
        print_json(list(rows))
        return
    if rows:
        _print_table(rows)
    else:
        click.echo("nothing found")
    if total is not None and total > len(rows):
        click.echo(f"{len(rows)} of {total}")


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*rows[0])
    for row in rows:
        # as it is: a customer may call itself [bold]
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cell(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return "" if value is None else str(value)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(to_json(value, orjson.OPT_INDENT_2, unknown=str).decode())
