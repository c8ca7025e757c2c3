"""A log of the shapes of MongoDB commands that a process sends, for the test that none steps outside its tenant, and of
the forms that they use, for the test that each is among those which a database is checked for.

It holds names only: collections, operations, fields and forms. Never a value, and nothing unless a setting asks for it.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from pymongo import monitoring

from core.storage.command_forms import forms_of

CHECK_PREFIX = "keystage_check_"
"""Collections and databases that a check of the database makes for itself begin so; nobody's data is there."""
_FILTERS = {"update": ("updates", "q"), "delete": ("deletes", "q")}
_STEPS_TO_OTHER_COLLECTIONS = {"$lookup", "$unionWith", "$graphLookup", "$out", "$merge"}


@dataclass(frozen=True)
class CommandShape:
    """One statement: what it does to which collection, and which ids it is bound to."""

    operation: str
    collection: str
    fields: tuple[str, ...]
    """Top-level fields of the filter; empty for an insert."""
    bound: tuple[str, ...]
    """Those of `internal_id` and `namespace_id` that the filter, or the inserted document, has as a non-empty text."""
    leaves: tuple[str, ...] = ()
    """Pipeline steps that reach other collections."""

    def to_line(self) -> bytes:
        """One line of the log."""
        return orjson.dumps(asdict(self)) + b"\n"


class CommandLog(monitoring.CommandListener):
    """Appends each shape once to a file of this process's own. Every command has its shape in the file."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._seen: set[CommandShape | str] = set()
        self._lock = threading.Lock()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Note what is sent."""
        name, command = event.command_name, event.command
        if _is_of_a_check(event.database_name) or _is_of_a_check(command.get("collection", command.get(name))):
            return
        for form in forms_of(name, command):
            self.note(form)
        for shape in shapes(name, command):
            self.note(shape)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Noted when it started."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Noted when it started."""

    def note(self, seen: CommandShape | str) -> None:
        """Write a shape, or a form, down unless it is there already."""
        with self._lock:
            if seen not in self._seen:
                self._seen.add(seen)
                name, line = ("forms", f"{seen}\n".encode()) if isinstance(seen, str) else ("ndjson", seen.to_line())
                # opened each time: the process may be killed at any moment, and forks write to files of their own
                with (self._directory / f"{os.getpid()}.{name}").open("ab") as log:
                    log.write(line)


@cache
def log_commands(directory: Path | None) -> None:
    """From now on, log the commands of every client that this process makes; nothing when there is no directory.

    Once for each process, however often it is called.
    """
    if directory:
        monitoring.register(CommandLog(directory))


def _is_of_a_check(place: object) -> bool:
    return str(place).startswith(CHECK_PREFIX)


def shapes(operation: str, command: Mapping[str, Any]) -> Iterator[CommandShape]:
    """The shapes of one command's statements."""
    collection = command.get(operation)
    name = collection if isinstance(collection, str) else ""
    if operation == "insert":
        for document in command["documents"]:
            yield CommandShape(operation, name, (), _bound(document))
    elif operation == "aggregate":
        steps = command["pipeline"]
        leaves = {key for step in steps for key in step} & _STEPS_TO_OTHER_COLLECTIONS
        yield _filtered(operation, name, steps[0].get("$match", {}) if steps else {}, tuple(sorted(leaves)))
    elif operation in _FILTERS:
        statements, query = _FILTERS[operation]
        for statement in command[statements]:
            yield _filtered(operation, name, statement[query])
    else:
        yield _filtered(operation, name, command.get("filter") or command.get("query") or {})


def _filtered(operation: str, collection: str, query: Mapping[str, Any], leaves: tuple[str, ...] = ()) -> CommandShape:
    return CommandShape(operation, collection, tuple(sorted(query)), _bound(query), leaves)


def _bound(fields: Mapping[str, Any]) -> tuple[str, ...]:
    ids = ("internal_id", "namespace_id")
    return tuple(name for name in ids if isinstance(fields.get(name), str) and fields[name])
