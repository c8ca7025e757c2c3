"""What must be unique is refused, and a value that was freed may be taken, however either is done."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, OperationFailure, WriteError

from core.storage.abilities.ability import Ability, Room, ShortfallError, expect
from core.storage.mongo import Document

Session = ClientSession | None
Write = Callable[[Collection[Document], str, Session], Any]
"""Makes a document have the value, in a transaction if one is given."""


def _insert(records: Collection[Document], value: str, session: Session) -> None:
    records.insert_one({"_id": f"{value}:taker", **_taken(value)}, session=session)


def _upsert(records: Collection[Document], value: str, session: Session) -> None:
    records.update_one({"_id": f"{value}:taker"}, {"$set": _taken(value)}, upsert=True, session=session)


def _update(records: Collection[Document], value: str, session: Session) -> None:
    records.update_one({"_id": f"{value}:other"}, {"$set": _taken(value)}, session=session)


def _taken(value: str) -> Document:
    return {"way": value, "value": value, "active": True}


_TAKERS: Final[dict[str, Write]] = {"insert": _insert, "upsert": _upsert, "update": _update}


def _set(records: Collection[Document], value: str, session: Session) -> None:
    records.update_one({"_id": value}, {"$set": {"value": f"{value}:anew"}}, session=session)


def _unset(records: Collection[Document], value: str, session: Session) -> None:
    records.update_one({"_id": value}, {"$unset": {"value": ""}}, session=session)


def _replace(records: Collection[Document], value: str, session: Session) -> None:
    records.replace_one({"_id": value}, {**_taken(value), "value": f"{value}:anew"}, session=session)


def _delete(records: Collection[Document], value: str, session: Session) -> None:
    records.delete_one({"_id": value}, session=session)


def _leave(records: Collection[Document], value: str, session: Session) -> None:
    records.update_one({"_id": value}, {"$set": {"active": False}}, session=session)


@dataclass(frozen=True)
class _Order:
    """In which transactions a value is freed and taken again."""

    name: str
    in_transaction: tuple[bool, bool]
    """whether it is freed, and taken, in one; both: in the same"""


_ORDERS: Final = (
    _Order("", (False, False)),
    _Order(" in a transaction", (False, True)),
    _Order(" in the transaction that freed it", (True, True)),
    _Order(" after the transaction that freed it", (True, False)),
)


def _freed(free: Write, **index: Any) -> Callable[[Room], None]:
    def check(room: Room) -> None:
        records = room.collection(f"freed_{free.__name__}")
        # whoever owns a value, takes it or keeps another of the same way has this way in common, as a tenant
        records.create_index([("way", 1), ("value", 1)], unique=True, **index)
        ways = [(order, how, f"{how}{order.name}") for order in _ORDERS for how in _TAKERS]
        records.insert_many(_owners(way for _, _, way in ways))
        stayed = [way for order, how, way in ways if not _is_taken(room, records, free, order, _TAKERS[how], way)]
        if stayed:
            raise ShortfallError(f"the freed value stays taken for: {', '.join(stayed)}")

    return check


def _owners(values: Iterable[str]) -> list[Document]:
    return [
        document
        for value in values
        for document in (
            {"_id": value, **_taken(value)},
            {"_id": f"{value}:other", **_taken(value), "value": f"{value}:before"},
        )
    ]


def _is_taken(room: Room, records: Collection[Document], free: Write, order: _Order, take: Write, value: str) -> bool:
    frees, takes = order.in_transaction
    try:
        if frees and takes:
            with room.transaction() as session:
                free(records, value, session)
                take(records, value, session)
        else:
            with _perhaps(room, frees) as session:
                free(records, value, session)
            with _perhaps(room, takes) as session:
                take(records, value, session)
    except (DuplicateKeyError, OperationFailure) as error:
        if _is_duplicate(error):
            return False
        raise
    return True


def _perhaps(room: Room, is_wanted: bool) -> AbstractContextManager[Session]:
    return room.transaction() if is_wanted else nullcontext()


def _is_duplicate(error: OperationFailure) -> bool:
    return error.code == 11000


def _refused(room: Room) -> None:
    records = room.collection("unique")
    records.create_index([("tenant", 1), ("value", 1)], unique=True)
    records.insert_many([{"_id": name, "tenant": "t", "value": name} for name in ("a", "b")])
    # another tenant's is another value
    records.insert_one({"_id": "other", "tenant": "u", "value": "a"})
    taken = {"tenant": "t", "value": "a"}
    ways: dict[str, Callable[[Session], Any]] = {
        "an insert": lambda session: records.insert_one({"_id": "c", **taken}, session=session),
        "an upsert": lambda session: records.update_one({"_id": "c"}, {"$set": taken}, upsert=True, session=session),
        "an update": lambda session: records.update_one({"_id": "b"}, {"$set": taken}, session=session),
        "a replacement": lambda session: records.replace_one({"_id": "b"}, taken, session=session),
    }
    for is_inside in (False, True):
        for name, write in ways.items():
            try:
                with _perhaps(room, is_inside) as session:
                    write(session)
            except (WriteError, OperationFailure) as error:
                expect(f"{name} was refused with the code", error.code, 11000)
            else:
                raise ShortfallError(f"{name}{' in a transaction' if is_inside else ''} stored a value that was taken")
    expect("a refused write left", records.count_documents({}), 3)


def _partial(room: Room) -> None:
    records = room.collection("partial")
    records.create_index("value", unique=True, partialFilterExpression={"active": True})
    try:
        records.insert_many(
            [{"_id": "a", "value": 1}, {"_id": "b", "value": 1}, {"_id": "c", "value": 1, "active": True}]
        )
    except OperationFailure as error:
        raise ShortfallError("documents outside the index's condition were held to it") from error
    try:
        records.insert_one({"_id": "d", "value": 1, "active": True})
    except DuplicateKeyError:
        return
    raise ShortfallError("documents inside the index's condition were not held to it")


def _freed_ability(name: str, breaks: str, free: Write, **index: Any) -> Ability:
    return Ability(f"unique.freed_by_{name}", breaks, _freed(free, **index))


UNIQUENESS: Final[tuple[Ability, ...]] = (
    Ability(
        "index.unique",
        "Two buckets of one name, two ledger entries of one number, two holds for one job: credits would be lost.",
        _refused,
        "index.unique",
    ),
    Ability(
        "index.partialFilterExpression",
        "A key's name could never be used again after the key was revoked, or two keys could bear it.",
        _partial,
        "index.partialFilterExpression",
    ),
    _freed_ability("set", "The old name of what was renamed could not be given again.", _set),
    _freed_ability("unset", "The place of what gave its name up could not be taken.", _unset),
    _freed_ability("replace", "The place of a record that was written anew could not be taken.", _replace),
    _freed_ability("delete", "The name of what was deleted could not be given again.", _delete),
    _freed_ability(
        "leaving_a_partial_index",
        "A key that was rotated could not be rotated again, nor a data key follow another.",
        _leave,
        partialFilterExpression={"active": True},
    ),
)
