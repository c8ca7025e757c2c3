"""Puts what is wrong with settings into sentences that name the operator's variable. It shows no value."""

import re
from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_settings import SettingsError

PREFIX = "KEYSTAGE_"
_NOT_PARSED = re.compile(r'error parsing value for field "(\w+)" from source "(\w+)"')
_PLACES = {
    "EnvSettingsSource": "the environment",
    "DotEnvSettingsSource": "the .env file",
    "SecretsSettingsSource": "its secret file",
}


class UnusableSettingsError(SettingsError):
    """Settings that cannot be used: one sentence a fault."""


def variable(setting: str, prefix: str = PREFIX) -> str:
    """The environment variable of a setting."""
    return f"{prefix}{setting.upper()}"


def refused(error: ValidationError | SettingsError, prefix: str = PREFIX) -> UnusableSettingsError:
    """The same in the operator's words. `prefix` is what the variables at fault begin with."""
    sentences = _faults(error, prefix) if isinstance(error, ValidationError) else [_unparsed(str(error))]
    return UnusableSettingsError("; ".join(sentences))


def _faults(error: ValidationError, prefix: str) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        what = fault["msg"].removeprefix("Value error, ")
        # what several settings do wrong together names them itself
        yield f"{_place(fault['loc'], prefix)}: {_lowered(what)}" if fault["loc"] else what


def _place(location: tuple[int | str, ...], prefix: str) -> str:
    first, *inner = map(str, location)
    # an alias is the variable's whole name already
    name = first if first.startswith(prefix) else variable(first, prefix)
    return f"{name} {'.'.join(inner)}".rstrip()


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _unparsed(text: str) -> str:
    found = _NOT_PARSED.search(text)
    return f"{variable(found[1])}: {_PLACES.get(found[2], 'its source')} does not hold JSON" if found else text
