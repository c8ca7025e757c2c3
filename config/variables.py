"""Where each variable of ours is set, and which of them nobody reads. It looks at names, never at values."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from config.refusals import PREFIX, variable
from config.secret_managers import ManagerSettings
from config.settings import Settings

_OF_THE_MANAGER = frozenset(f"{PREFIX}SECRETS_{name.upper()}" for name in ManagerSettings.model_fields)
_ENVIRONMENT_ONLY = _OF_THE_MANAGER - {f"{PREFIX}SECRETS_ORIGIN"} | {f"{PREFIX}SECRETS_FROM", f"{PREFIX}SECRETS_DIR"}
"""What says where settings come from is not itself looked for there."""
_OF_THE_STACK = frozenset({f"{PREFIX}STACK", f"{PREFIX}STACK_SERVICE"})
"""Marks of the processes of an embedded stack."""
SETTINGS = frozenset(map(variable, Settings.model_fields))
_KNOWN = SETTINGS | _ENVIRONMENT_ONLY | _OF_THE_STACK
_EARLIER = {f"{PREFIX}WORKER_SLOTS": f"{PREFIX}INTERACTIVE_SLOTS and {PREFIX}BATCH_SLOTS"}
"""What earlier releases read, and what took its place."""
_WITHOUT_PREFIX = sorted(name.removeprefix(PREFIX) for name in SETTINGS | _ENVIRONMENT_ONLY)
_NEAR, _NEARLY_THE_SAME = 0.6, 0.9
"""How alike two names are: of ours, and of any program's."""


class Place:
    """Where a variable is set; the first of them counts."""

    ENVIRONMENT = "environment"
    DOTENV = ".env"
    SECRET_FILE = "secret file"  # noqa: S105 - a place, no secret


@dataclass(frozen=True)
class Unread:
    """A variable that is set and has no effect."""

    name: str
    place: str
    nearest: str | None
    """What was probably meant."""
    why: str = "is no setting"

    def __str__(self) -> str:
        meant = f": did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.name} ({self.place}) {self.why}{meant}"


def unread_variables() -> list[Unread]:
    """What is set for this process and read by nobody."""
    return [found for name, place in _given() if (found := _judged(name, place))]


def places(names: Iterable[str]) -> dict[str, str]:
    """Where each of these settings is set; those that are set in none of the places are left out."""
    found: dict[str, str] = {}
    for name, place in _given():
        found.setdefault(name.upper(), place)
    return {name: found[variable(name)] for name in names if variable(name) in found}


def secret_files() -> list[Path]:
    """The .env file and the directory of secret files, as far as there are any."""
    named = (Settings.model_config.get("env_file"), Settings.model_config.get("secrets_dir"))
    return [path for name in named if name and (path := Path(str(name))).exists()]


def _given() -> Iterator[tuple[str, str]]:
    for place, names in _sources().items():
        yield from ((name, place) for name in names)


def _sources() -> Mapping[str, Iterable[str]]:
    dotenv, directory = Settings.model_config.get("env_file"), Settings.model_config.get("secrets_dir")
    return {
        Place.ENVIRONMENT: os.environ,
        Place.DOTENV: dotenv_values(str(dotenv)) if dotenv else (),
        Place.SECRET_FILE: _files(Path(str(directory))) if directory else (),
    }


def _files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_file()) if directory.is_dir() else []


def _judged(name: str, place: str) -> Unread | None:
    said = name.upper()
    if not said.startswith(PREFIX):
        # another program's, unless it is one of ours but for a letter
        near = difflib.get_close_matches(said, sorted(SETTINGS), 1, _NEARLY_THE_SAME) if said.startswith("K") else []
        return Unread(name, place, near[0]) if near else None
    if said in _ENVIRONMENT_ONLY and place != Place.ENVIRONMENT:
        return Unread(name, place, None, "is read from the environment only")
    if said in _KNOWN:
        return None
    if said in _EARLIER:
        return Unread(name, place, _EARLIER[said], "is no setting any more")
    # without the prefix, which would make any two of them alike
    near = difflib.get_close_matches(said.removeprefix(PREFIX), _WITHOUT_PREFIX, 1, _NEAR)
    return Unread(name, place, f"{PREFIX}{near[0]}" if near else None)
