"""`keystage settings`: every setting of the stack at hand, its value and where it came from. It shows no secret."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from cli.operators.options import json_option
from cli.operators.session import show
from cli.plain_words import plain_words
from cli.stack.effective import MASKED, Effective, Row, effective, recorded
from cli.stack.layout import data_directory
from cli.stack.locate import whose
from cli.stack.lock import running_stack
from config.redaction import MASK
from config.settings import load_settings


@dataclass(frozen=True)
class _Described:
    """The settings that are shown, whose they are, and what else is to be said about them."""

    settings: Effective
    whose: str
    remarks: tuple[str, ...]


@click.command()
@click.option("--changed", is_flag=True, help="Only what differs from the default.")
@json_option
def settings(changed: bool, as_json: bool) -> None:
    """Show the settings of the running stack. Without one, those of this shell, which the next start would use."""
    with plain_words():
        found = _described()
    # beside the answer: stdout has the settings alone
    click.echo(found.whose, err=True)
    for remark in found.remarks:
        click.echo(f"warning: {remark}", err=True)
    rows = [row for row in found.settings.rows if row.changed or not changed]
    show([_shown(row) for row in rows], as_json)


def _described() -> _Described:
    given = load_settings()
    layout = data_directory(given.data)
    stack = running_stack(layout)
    here = effective(given)
    of_stack = recorded(layout) if stack else None
    if of_stack is None:
        return _Described(here, whose(layout, stack, known=False), here.unread)
    differing = tuple(
        f"this shell sets {name} otherwise than the stack: other commands here use this shell's value"
        for name in _differing(of_stack, here)
    )
    return _Described(of_stack, whose(layout, stack, known=True), (*of_stack.unread, *differing))


def _differing(of_stack: Effective, here: Effective) -> Iterator[str]:
    """Variables that this shell gives and the stack has otherwise, as far as their values are shown."""
    values = {row.setting: row.value for row in of_stack.rows}
    for row in here.rows:
        told = values.get(row.setting)
        hidden = told == MASKED or (isinstance(told, str) and MASK in told)
        if row.origin != "default" and row.setting != "KEYSTAGE_DATA" and not hidden and told != row.value:
            yield row.setting


def _shown(row: Row) -> dict[str, Any]:
    return {"setting": row.setting, "value": row.value, "from": row.origin}
