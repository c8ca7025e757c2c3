"""The forms of MongoDB's language that a command uses: operators, steps and options, each with the place it stands in.

A form is a name such as `filter.$in`, `update.$set`, `pipeline.$set`, `expression.$dateAdd` or `index.unique`. It holds
no value of a command and no field's name.
"""

from collections.abc import Iterator, Mapping
from re import Pattern
from typing import Any

from bson.regex import Regex

_EVERYWHERE = frozenset(
    {
        "$clusterTime", "$db", "$readPreference", "apiVersion", "autocommit", "comment", "lsid", "maxTimeMS",
        "readConcern", "startTransaction", "txnNumber", "writeConcern",
    }
)  # fmt: skip
"""What any command may carry, and the driver adds."""
_KNOWN_BY_THEIR_NAMES = frozenset(
    {"filter", "query", "documents", "updates", "deletes", "pipeline", "cursor", "indexes", "validator", "ordered"}
)
_OF_A_STATEMENT = frozenset({"q", "u", "limit", "upsert", "multi"})
_OF_EVERY_INDEX = frozenset({"key", "name", "v"})

Found = Iterator[str]


def forms_of(name: str, command: Mapping[str, Any]) -> frozenset[str]:
    """The forms of one command; none for those that read, write or define nothing."""
    return frozenset(_forms(name, command))


def _forms(name: str, command: Mapping[str, Any]) -> Found:
    match name:
        case "find":
            yield from _filter(command.get("filter", {}))
        case "insert":
            yield from _unordered(name, command)
        case "update":
            yield from _unordered(name, command)
            for statement in command["updates"]:
                yield from _update(statement)
        case "delete":
            for statement in command["deletes"]:
                yield "delete.one" if statement["limit"] else "delete.many"
                yield from _filter(statement["q"])
                yield from _options(name, statement, _OF_A_STATEMENT)
        case "aggregate":
            for step in command["pipeline"]:
                yield from _step(step)
        case "createIndexes":
            for index in command["indexes"]:
                yield from _index(index)
        case "create":
            yield from _validator(command)
        case "getMore":
            yield "cursor.getMore"
            return
        case _:
            return
    yield from _options(name, command, _KNOWN_BY_THEIR_NAMES | {name})


def _options(place: str, command: Mapping[str, Any], others: frozenset[str]) -> Found:
    # one that is off, or empty, asks for nothing
    return (f"{place}.{option}" for option, value in command.items() if value and option not in others | _EVERYWHERE)


def _unordered(name: str, command: Mapping[str, Any]) -> Found:
    if not command.get("ordered", True):
        yield f"{name}.unordered"


def _filter(query: Any) -> Found:
    if isinstance(query, Pattern | Regex):
        yield "filter.regex"
    elif isinstance(query, list | tuple):
        for part in query:
            yield from _filter(part)
    elif isinstance(query, Mapping):
        for key, value in query.items():
            if key.startswith("$"):
                yield f"filter.{key}"
            elif "." in key:
                yield "filter.path"
            yield from _filter(value)


def _update(statement: Mapping[str, Any]) -> Found:
    yield from _filter(statement["q"])
    for option in ("upsert", "multi"):
        if statement.get(option):
            yield f"update.{option}"
    yield from _options("update", statement, _OF_A_STATEMENT)
    change = statement["u"]
    if not isinstance(change, Mapping):
        for step in change:
            yield from _pipeline_step(step)
    elif any(key.startswith("$") for key in change):
        for operator, fields in change.items():
            yield f"update.{operator}"
            yield from _operands(operator, fields)
    else:
        yield "update.replace"


def _operands(operator: str, fields: Mapping[str, Any]) -> Found:
    for path, value in fields.items():
        if "." in path:
            yield "update.path"
        if operator == "$pull":
            yield from _filter(value)
        elif isinstance(value, Mapping):
            yield from (f"update.{key}" for key in value if key.startswith("$"))


def _pipeline_step(step: Mapping[str, Any]) -> Found:
    for operator, fields in step.items():
        yield f"pipeline.{operator}"
        if isinstance(fields, Mapping):
            for path, value in fields.items():
                if "." in path:
                    yield "pipeline.path"
                yield from _expression(value)


def _step(step: Mapping[str, Any]) -> Found:
    for operator, body in step.items():
        yield f"stage.{operator}"
        if operator == "$match":
            yield from _filter(body)
        elif operator == "$group":
            yield from _group(body)
        else:
            yield from _expression(body)


def _group(body: Mapping[str, Any]) -> Found:
    for name, value in body.items():
        if name == "_id":
            yield from _expression(value)
        else:
            for accumulator, operand in value.items():
                yield f"group.{accumulator}"
                yield from _expression(operand)


def _expression(value: Any) -> Found:
    if isinstance(value, str) and value.startswith("$"):
        yield f"variable.{value}" if value.startswith("$$") else "expression.field"
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _expression(part)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield f"expression.{key}" if key.startswith("$") else "expression.object"
            if key != "$literal":
                yield from _expression(part)


def _index(index: Mapping[str, Any]) -> Found:
    for option, value in index.items():
        # 0 seconds is a time to live too
        if option not in _OF_EVERY_INDEX and value is not False:
            yield f"index.{option}"
    yield from _filter(index.get("partialFilterExpression", {}))


def _validator(command: Mapping[str, Any]) -> Found:
    yield from (f"validator.{operator}" for operator in command.get("validator") or {})
