"""What can be taken away from a database, one thing at a time, for `tests/wire_proxy.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from core.storage.command_forms import forms_of
from tests.wire_proxy import Ask, Document, Weakness

_DONE: Document = {"ok": 1.0, "n": 1, "nModified": 1}
_BESIDE = ("$db", "lsid", "txnNumber", "autocommit")
_OF_A_TRANSACTION = ("txnNumber", "autocommit", "startTransaction")


@dataclass
class Refuses(Weakness):
    """Does not know a form of the language, and says so."""

    form: str

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        if self.form in forms_of(name, command):
            return {"ok": 0.0, "code": 9, "codeName": "FailedToParse", "errmsg": f"unknown: {self.form}"}
        return ask(command)


@dataclass
class Forgets(Weakness):
    """Takes a command without some of it, as if that had not been asked for."""

    without: Callable[[str, Document], None]
    """Removes it from the command."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        self.without(name, command)
        return ask(command)


def ignoring_an_option_of_indexes(option: str, *, beside: str | None = None) -> Weakness:
    """Makes indexes without the option; not those that have the option `beside`."""

    def without(name: str, command: Document) -> None:
        for index in command["indexes"] if name == "createIndexes" else []:
            if beside not in index:
                index.pop(option, None)

    return Forgets(without)


def ignoring(option: str, of: str | None = None) -> Weakness:
    """Does not look at what stands beside a command, or one kind of command."""

    def without(name: str, command: Document) -> None:
        if of in (None, name):
            command.pop(option, None)

    return Forgets(without)


def ignoring_of_statements(option: str) -> Weakness:
    """Does not look at what stands beside a statement of an update."""

    def without(_name: str, command: Document) -> None:
        for statement in command.get("updates", ()):
            statement.pop(option, None)

    return Forgets(without)


def never_retrying() -> Weakness:
    """Knows no retried write: what is sent twice is done twice."""

    def without(_name: str, command: Document) -> None:
        if "autocommit" not in command:
            command.pop("txnNumber", None)

    return Forgets(without)


def matching_no_elements() -> Weakness:
    """Compares a list only as a whole."""

    def without(name: str, command: Document) -> None:
        if name == "find" and isinstance(command["filter"].get("tags"), str):
            command["filter"]["tags"] = [command["filter"]["tags"]]

    return Forgets(without)


def doing_in_place_of(operator: str, other: str) -> Weakness:
    """Takes one operator of an update for another."""

    def without(_name: str, command: Document) -> None:
        for statement in command.get("updates", ()):
            if isinstance(statement["u"], dict) and operator in statement["u"]:
                statement["u"][other] = statement["u"].pop(operator)

    return Forgets(without)


class AppliesAtOnce(Weakness):
    """Knows no transaction: each statement counts when it is made."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        if name in {"commitTransaction", "abortTransaction"}:
            return _DONE
        if "autocommit" in command:
            for field in _OF_A_TRANSACTION:
                command.pop(field, None)
        return ask(command)


class NeverUndoes(Weakness):
    """Commits what should be undone."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        if name == "abortTransaction":
            return ask({"commitTransaction": 1, **{key: command[key] for key in command if key != "abortTransaction"}})
        return ask(command)


class HidesConflicts(Weakness):
    """Says of two transactions that met that both were done."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        answer = ask(command)
        is_conflict = "TransientTransactionError" in answer.get("errorLabels", ())
        return _DONE if is_conflict or (name == "commitTransaction" and not answer["ok"]) else answer


class NoClock(Weakness):
    """Says no time."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        answer = ask(command)
        if name == "hello":
            answer.pop("localTime", None)
        return answer


class StoppedClock(Weakness):
    """Says the same time for ever."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        answer = ask(command)
        return {**answer, "localTime": datetime(2026, 1, 31, tzinfo=UTC)} if name == "hello" else answer


class NoExplain(Weakness):
    """Explains nothing."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        if name == "explain":
            return {"ok": 0.0, "code": 59, "codeName": "CommandNotFound", "errmsg": "no such command: 'explain'"}
        return ask(command)


@dataclass
class KeepsFreedValues(Weakness):
    """Goes on holding a unique value after a write freed it, as if another document had it still."""

    frees: Callable[[Mapping[str, Any]], bool]
    """Whether a statement frees a value in the way that goes wrong."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        statements: list[Document] = command.get("updates") or command.get("deletes") or []
        freeing = [each for each in statements if self.frees(each)]
        if not freeing:
            return ask(command)
        collection = {"find": command[name], "$db": command["$db"]}
        found = [owner for each in freeing for owner in _found(ask({**collection, "filter": each["q"]}))]
        # documents of the checks of what was freed, and not those of other checks
        owners = [owner for owner in found if "way" in owner]
        answer = ask(command)
        if owners and answer["ok"] and not answer.get("writeErrors"):
            ghosts = [{**owner, "_id": ObjectId()} for owner in owners]
            beside: Document = {key: command[key] for key in _BESIDE if key in command}
            ask({"insert": command[name], "documents": ghosts, **beside})
        return answer


def _found(answer: Document) -> list[Document]:
    found: list[Document] = answer["cursor"]["firstBatch"]
    return found


def sets(statement: Mapping[str, Any]) -> bool:
    """A `$set` of the value."""
    return "value" in _operands(statement, "$set")


def unsets(statement: Mapping[str, Any]) -> bool:
    """An `$unset` of the value."""
    return "value" in _operands(statement, "$unset")


def replaces(statement: Mapping[str, Any]) -> bool:
    """A replacement of the whole document."""
    return "value" in statement.get("u", ())


def deletes(statement: Mapping[str, Any]) -> bool:
    """A removal."""
    return "u" not in statement


def leaves(statement: Mapping[str, Any]) -> bool:
    """A change by which a document leaves a partial index."""
    return _operands(statement, "$set").get("active") is False


def _operands(statement: Mapping[str, Any], operator: str) -> Mapping[str, Any]:
    change = statement.get("u")
    operands: Mapping[str, Any] = change.get(operator, {}) if isinstance(change, dict) else {}
    return operands
