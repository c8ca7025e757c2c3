"""`keystage settings`: every setting of the stack at hand, its value and where it came from. It shows no secret."""

import re
from typing import Any

import click
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import SettingsError

from cli.operators.options import json_option
from cli.operators.session import show
from cli.stack.locate import stack_settings
from config.settings import Settings, load_settings
from core.errors import UnavailableError

_MASKED = "set, not shown"
_PASSWORD = re.compile(r"(://[^:@]*:)[^@]+@")


@click.command()
@json_option
def settings(as_json: bool) -> None:
    """Show the settings of the running stack, or those the next start would use."""
    try:
        effective = _effective()
    except (ValidationError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    show([_row(name, effective) for name in Settings.model_fields], as_json)


def _effective() -> Settings:
    try:
        return stack_settings()
    except UnavailableError:
        return load_settings()


def _row(name: str, effective: Settings) -> dict[str, Any]:
    return {
        "setting": f"{Settings.model_config['env_prefix']}{name}".upper(),
        "value": _shown(getattr(effective, name)),
        "from": "given" if name in effective.model_fields_set else "default",
    }


def _shown(value: Any) -> Any:
    """The value without its secrets: neither a secret itself nor the password of a URL."""
    if isinstance(value, SecretStr):
        return _MASKED
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_shown(part) for part in value]
    if isinstance(value, str):
        return without_password(value)
    return value if isinstance(value, int | float | None) else str(value)


def without_password(url: str) -> str:
    """The URL with `***` for its password; any other text as it is."""
    return _PASSWORD.sub(r"\1***@", url)
