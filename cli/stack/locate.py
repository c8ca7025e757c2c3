"""Finds the stack that an operator's command works on. It starts nothing and talks to no server."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.stack.effective import Effective, effective, recorded
from cli.stack.layout import DataDirectory, data_directory, read_json
from cli.stack.lock import RunningStack, running_stack
from config.redaction import MASK
from config.settings import Settings, load_settings
from core.errors import UnavailableError

_ADDRESSES = ("mongo_url", "redis_url", "ray_address")


@dataclass(frozen=True)
class Located:
    """The installation that a command is about."""

    settings: Settings
    told: Effective
    """the same, with where each came from: what the stack wrote down, else this shell's"""
    whose: str
    """a sentence that says so"""


def stack_settings(data: Path | None = None) -> Settings:
    """The settings of the stack at hand: those given, completed by the stack that runs on the data directory.

    `data` stands over KEYSTAGE_DATA. Raises UnavailableError when KEYSTAGE_MONGO_URL is unset and no stack runs there.
    """
    given = load_settings()
    layout = data_directory(data or given.data)
    told = _told(given, layout)
    if told is None:
        return given
    completed = {name: value for name, value in told.items() if name not in given.model_fields_set}
    return _with_keys(layout, completed)


def installation_settings() -> Located:
    """The settings of the installation at hand, for whoever describes it: what its stack was told stands over what is
    given here. A secret is the one exception: the stack writes none down, so it is that of this shell.
    """
    given = load_settings()
    layout = data_directory(given.data)
    stack, told = running_stack(layout), _told(given, layout)
    wrote = recorded(layout) if told is not None else None
    settings = given if told is None else _with_keys(layout, {**_masked(wrote, given), **told})
    return Located(settings, wrote or effective(settings), whose(layout, stack, known=wrote is not None))


def whose(layout: DataDirectory, stack: RunningStack | None, known: bool) -> str:
    """A sentence that says whose settings are shown; `known`: the stack wrote its own down."""
    if stack and known:
        return f"These are the settings of the stack that runs on {layout.root} (process {stack.pid})."
    why = "the one that runs wrote none down" if stack else "none runs"
    return f"These are the settings of this shell, not of a stack on {layout.root}: {why}."


def _told(given: Settings, layout: DataDirectory) -> dict[str, Any] | None:
    """What the running stack works with, without secrets; None where KEYSTAGE_MONGO_URL stands for a stack."""
    stack = running_stack(layout)
    if stack is None or (addresses := read_json(layout.ready)) is None:
        if "mongo_url" in given.model_fields_set:
            return None
        raise UnavailableError(_no_stack(layout, stack))
    wrote = recorded(layout)
    return {**(wrote.values if wrote else {}), **{name: addresses[name] for name in _ADDRESSES}}


def _masked(wrote: Effective | None, given: Settings) -> dict[str, Any]:
    """URLs whose password was not written down: where a server is can be said without it."""
    rows = {name: wrote.row(name).value for name in Settings.model_fields} if wrote else {}
    return {
        name: value
        for name, value in rows.items()
        if isinstance(value, str) and MASK in value and name not in given.model_fields_set
    }


def _with_keys(layout: DataDirectory, found: Mapping[str, Any]) -> Settings:
    # the operator's own files stand over those that the stack made where there were none
    named = Settings.model_config.get("secrets_dir")
    directories = [layout.keys, str(named)] if named else layout.keys
    return load_settings(**{**found, "_secrets_dir": directories, "data": layout.root})


def _no_stack(layout: DataDirectory, starting: RunningStack | None) -> str:
    if starting:
        return (
            f"the stack on {layout.root} is starting or stopping (process {starting.pid}): try again when it is ready"
        )
    return (
        f"no stack runs on {layout.root}: start one with `keystage up`, name its directory in KEYSTAGE_DATA, "
        "or set KEYSTAGE_MONGO_URL and KEYSTAGE_REDIS_URL"
    )
