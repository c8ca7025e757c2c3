"""The settings that a stack works with, written beside its addresses for whoever asks. It shows no secret."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python

from cli.stack.layout import DataDirectory, read_json
from config.redaction import redacted
from config.refusals import variable
from config.settings import Settings
from config.variables import places, secret_files, unread_variables

MASKED = "set, not shown"
_DEFAULT, _OF_THE_STACK, _OPTION, _MANAGER = "default", "this stack", "command line", "secret manager"


@dataclass(frozen=True)
class Row:
    """One setting as a person reads it."""

    setting: str
    value: Any
    origin: str
    """`default`, or who gave it"""
    changed: bool
    """whether it differs from the default"""


@dataclass(frozen=True)
class Effective:
    """All settings of a process or of a stack."""

    rows: Sequence[Row]
    values: Mapping[str, Any]
    """those without anything secret, as settings read them"""
    unread: tuple[str, ...]
    """a sentence for each variable that was set and is no setting"""
    files: tuple[str, ...]
    """what may hold secrets: the .env file, and the directory of secret files"""

    def row(self, name: str) -> Row:
        """The row of a setting."""
        return next(row for row in self.rows if row.setting == variable(name))

    def as_json(self) -> dict[str, Any]:
        """What is written into the data directory."""
        return {**vars(self), "rows": [vars(row) for row in self.rows]}


def effective(settings: Settings, chosen: Mapping[str, Any] | None = None, options: Collection[str] = ()) -> Effective:
    """What these settings come to. `chosen`: what the stack decided itself; `options`: what the command line gave."""
    chosen = chosen or {}
    found = places(Settings.model_fields)
    rows, values = [], {}
    for name, field in Settings.model_fields.items():
        value = chosen.get(name, getattr(settings, name))
        if name in settings.model_fields_set:
            origin = _OPTION if name in options else found.get(name, _MANAGER)
        else:
            origin = _OF_THE_STACK if name in chosen else _DEFAULT
        default = shown(field.get_default(call_default_factory=True))
        rows.append(Row(variable(name), shown(value), origin, shown(value) != default))
        plain = to_jsonable_python(value)
        if plain == shown(value):
            values[name] = plain
    unread = tuple(map(str, unread_variables()))
    return Effective(rows, values, unread, tuple(str(path.absolute()) for path in secret_files()))


def recorded(layout: DataDirectory) -> Effective | None:
    """What the stack of this directory wrote down; None when it has not yet, or is of an older version."""
    content = read_json(layout.settings)
    if content is None:
        return None
    known = {name: value for name, value in content["values"].items() if name in Settings.model_fields}
    rows = [Row(**row) for row in content["rows"]]
    return Effective(rows, known, tuple(content["unread"]), tuple(content["files"]))


def shown(value: Any) -> Any:
    """The value without its secrets: neither a secret itself nor the password of a URL."""
    if isinstance(value, SecretStr):
        return MASKED
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, dict):
        return {name: shown(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [shown(part) for part in value]
    if isinstance(value, str | Path):
        return redacted(str(value))
    return cast(Any, value) if isinstance(value, int | float | None) else json.dumps(value, default=str)
