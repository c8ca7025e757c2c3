"""Several writes count together or not at all, and two that meet do not both count."""

from typing import Final

from bson import Int64
from pymongo.errors import DuplicateKeyError, OperationFailure

from core.storage.abilities.ability import TRANSIENT, Ability, Room, ShortfallError, by_id, expect


def _isolated(room: Room) -> None:
    first, second = room.filled("first", [{"_id": 0}]), room.filled("second", [{"_id": 0}])
    with room.transaction() as session:
        first.insert_one({"_id": 1}, session=session)
        second.insert_one({"_id": 1}, session=session)
        expect("inside, the transaction saw", len(list(first.find({"_id": 1}, session=session))), 1)
        expect("before the commit others saw", (by_id(first), by_id(second)), ([0], [0]))
    expect("after the commit others saw", (by_id(first), by_id(second)), ([0, 1], [0, 1]))


def _undone(room: Room) -> None:
    records = room.filled("undone", [{"_id": 0, "n": 0}])
    with room.database.client.start_session() as session:
        session.start_transaction()
        records.insert_one({"_id": 1}, session=session)
        records.update_one({"_id": 0}, {"$set": {"n": 1}}, session=session)
        session.abort_transaction()
    expect("an aborted transaction left", list(records.find({})), [{"_id": 0, "n": 0}])


def _untorn(room: Room) -> None:
    records = room.filled("untorn", [{"_id": 0}])
    try:
        with room.transaction() as session:
            records.insert_one({"_id": 1}, session=session)
            records.insert_one({"_id": 0}, session=session)
    except DuplicateKeyError:
        expect("a transaction whose second write was refused left", by_id(records), [0])
    else:
        raise ShortfallError("a duplicate inside a transaction was not refused")


def _conflict(room: Room) -> None:
    records = room.filled("conflict", [{"_id": 0, "by": "nobody"}])
    client = room.database.client
    with client.start_session() as first, client.start_session() as second:
        first.start_transaction()
        second.start_transaction()
        records.update_one({"_id": 0}, {"$set": {"by": "first"}}, session=first)
        try:
            records.update_one({"_id": 0}, {"$set": {"by": "second"}}, session=second)
            first.commit_transaction()
            second.commit_transaction()
        except OperationFailure as error:
            if not error.has_error_label(TRANSIENT):
                raise ShortfallError(
                    f"two transactions met, and the driver is not told to try again: {error}"
                ) from error
        else:
            raise ShortfallError("two transactions changed the same record, and both were committed")
        if first.in_transaction:
            first.commit_transaction()
    expect("the record is that of", [found["by"] for found in records.find({})], ["first"])


def _retryable(room: Room) -> None:
    records = room.filled("retried", [{"_id": 0, "n": 0}])
    room.forms.numbered = {}
    with room.database.client.start_session() as session:
        records.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=session)
        if not room.forms.numbered:
            # by its URL the driver asks for no such retry
            return
        again = {**room.forms.numbered, "txnNumber": Int64(room.forms.numbered["txnNumber"])}
        room.database.command(again, session=session)
    expect("a write that was sent twice under one number made n", [found["n"] for found in records.find({})], [1])


TRANSACTIONS: Final[tuple[Ability, ...]] = (
    Ability(
        "transaction.isolated",
        "Half of what belongs together could be read: a key without its owner's rights, an event without its job.",
        _isolated,
    ),
    Ability(
        "transaction.undone",
        "What a request gave up half way would stay: quotas counted for buckets that do not exist.",
        _undone,
    ),
    Ability(
        "transaction.untorn",
        "Half of a change would stay where the other half was refused: an object of no bucket.",
        _untorn,
    ),
    Ability(
        "transaction.conflict",
        "Two requests at once could both take the last free place, or leave an organization without an admin.",
        _conflict,
    ),
    Ability(
        "writes.retried",
        "A write whose answer was lost would count twice; a URL with retryWrites=false asks for no such retry.",
        _retryable,
    ),
)
