"""Judges every MongoDB command that our code sent while the tests ran: each must obey the list of its handle.

The processes that tests start log their commands because a setting says so; the code that runs in the tests' own
process is told from the tests by the stack.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import orjson
from pymongo import monitoring

from core.storage.abilities.examination import ABILITIES
from core.storage.command_log import CommandLog, CommandShape
from core.storage.handles import ORGANIZATION_COLLECTIONS

_CORE = str(Path(__file__).parents[1] / "core")
_NO_STATEMENT = {
    "hello", "ping", "endSessions", "getMore", "killCursors", "listCollections", "create", "createIndexes", "collMod",
    "replSetInitiate", "explain", "abortTransaction", "commitTransaction", "buildInfo",
}  # fmt: skip
"""Commands that read or write no document, or go on with a cursor whose query was judged."""


@dataclass(frozen=True)
class SystemQuery:
    """One query of the closed list: records that are found before their tenant is known."""

    collection: str
    operations: frozenset[str]
    fields: frozenset[str]
    why: str


def _system(collection: str, operations: str, fields: str, why: str) -> SystemQuery:
    return SystemQuery(collection, frozenset(operations.split()), frozenset(fields.split()), why)


SYSTEM_QUERIES = (
    _system("jobs", "find", "due_at kind", "a lane and the sweeper look for what is due"),
    _system("jobs", "find", "waiting_for", "the sweeper counts what waits for a backend that is away"),
    _system("jobs", "find", "_id", "a doorbell names a job; the sweeper asks whether a hold's job exists"),
    _system("jobs", "update", "_id due_at", "a claim"),
    _system("jobs", "update", "_id due_at state", "a claim of what nobody runs"),
    _system("deliveries", "find", "due_at", "the dispatcher looks for what is due"),
    _system("deliveries", "find", "_id", "the read-back of a claim"),
    _system("deliveries", "update", "_id due_at", "a claim"),
    _system("namespaces", "find", "state", "the sweeper looks for deletions that have no job"),
    _system("namespaces", "find", "_id", "an operator names a namespace"),
    _system("ledger", "find", "kind at", "the sweeper looks for holds without a job"),
    _system("audit_heads", "find", "at", "the sweeper looks for chains that moved"),
    _system("api_keys", "find", "_id", "a key is looked up before its organization is known"),
    _system("organizations", "find", "organization_id", "an operator names an organization"),
    _system("organizations", "find", "", "an operator lists the organizations"),
    _system("org_keys", "find aggregate", "kek_id", "an operator moves data keys to another key-encryption key"),
    _system("leases", "find update insert delete", "_id holder until", "which process leads"),
    _system("heartbeats", "find update delete", "_id at", "which processes live"),
    _system("database_checks", "find update", "_id", "whether the database was checked"),
)
_TENANTLESS = {"leases", "heartbeats", "database_checks"}


class OwnCommandLog(CommandLog):
    """The commands that our code sends from the tests' own process."""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Note what a file of `core` sends; a test may look where it likes."""
        if any(frame.f_code.co_filename.startswith(_CORE) and _sends(frame) for frame in _frames()):
            super().started(event)


def violations(directory: Path) -> list[CommandShape]:
    """The logged commands that step outside their handle's list."""
    return [shape for shape in logged(directory) if not obeys(shape)]


def unchecked_forms(directory: Path) -> set[str]:
    """The logged forms that no database is checked for: what a store came to rely on and nobody said."""
    sent = {form for log in directory.glob("*.forms") for form in log.read_text().split()}
    return sent - {ability.form for ability in ABILITIES}


def logged(directory: Path) -> list[CommandShape]:
    """Every distinct shape that any process logged."""
    lines = {line for log in directory.glob("*.ndjson") for line in log.read_bytes().splitlines()}
    return [_shape(orjson.loads(line)) for line in sorted(lines)]


def obeys(shape: CommandShape) -> bool:
    """Whether the command is bound to a tenant as its collection demands, or stands in the closed list."""
    if shape.operation in _NO_STATEMENT:
        return True
    if shape.leaves:
        return False
    if {"internal_id", "namespace_id"} <= set(shape.bound):
        return True
    if shape.collection in ORGANIZATION_COLLECTIONS and "internal_id" in shape.bound:
        return True
    return any(_stands_for(query, shape) for query in SYSTEM_QUERIES)


def _stands_for(query: SystemQuery, shape: CommandShape) -> bool:
    if shape.collection != query.collection or shape.operation not in query.operations:
        return False
    if shape.collection in _TENANTLESS:
        return set(shape.fields) <= query.fields
    return set(shape.fields) == query.fields


def _shape(line: Mapping[str, str | list[str]]) -> CommandShape:
    return CommandShape(
        str(line["operation"]),
        str(line["collection"]),
        tuple(line["fields"]),
        tuple(line["bound"]),
        tuple(line["leaves"]),
    )


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame:
        yield frame
        frame = frame.f_back


def _sends(frame: FrameType) -> bool:
    return Path(frame.f_code.co_filename).name not in {"command_log.py", "mongo.py"}
