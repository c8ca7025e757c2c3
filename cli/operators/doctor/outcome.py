"""Prints what the doctor found, and ends the command by it. It judges nothing."""

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from cli.operators.session import show


def tell(
    rows: Sequence[dict[str, str]], good: str, bad: str, nouns: str, *, only_problems: bool, as_json: bool
) -> NoReturn:
    """Print the rows, or those whose result is not `good`; exit code 1 when a result is `bad`."""
    shown = [row for row in rows if not only_problems or row["result"] != good]
    if only_problems and not shown and not as_json:
        click.echo(f"{len(rows)} {nouns}")
    else:
        show(shown, as_json)
    sys.exit(1 if any(row["result"] == bad for row in rows) else 0)
