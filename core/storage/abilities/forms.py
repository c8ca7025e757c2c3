"""An example of each form of MongoDB's language that our stores use, with what is right of it.

The names are those of `core/storage/command_forms.py`, which reads them from the stores' own commands: a test run in
which a store sends a form that has no example here fails, and so does one that finds an example nobody uses.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson import Int64
from pymongo import UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from core.storage.abilities.ability import Ability, Room, ShortfallError, by_id, expect
from core.storage.moments import NOW
from core.storage.mongo import Document

_AT: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
_CLAIMS = "No job and no delivery could be claimed, so that nothing would ever run."
_LISTS = "Lists would leave records out, or show those of another time or kind."
_DUE = "What is due would not be found, or found before its time."
_STATES = "A job or key that is in another state meanwhile would be changed all the same."
_RECORDS = "No record could be changed once it is written."
_DEPTH = "Records that lie one level deeper, as a key's sealed parts do, would not be found or changed."

_SHELF: Final[tuple[Document, ...]] = (
    {"_id": "a", "n": 1, "at": _AT, "name": "alpha", "tags": ["x"], "part": {"k": 1}},
    {"_id": "b", "n": 2, "at": _AT + timedelta(hours=1), "name": "beta", "tags": ["x", "y"], "part": {"k": 2}},
    {"_id": "c", "n": 3, "at": _AT + timedelta(hours=2), "name": "gamma"},
)
"""What each query looks through."""

_FILTERS: Final[tuple[tuple[str, Mapping[str, Any], str, str], ...]] = (
    ("$gt", {"n": {"$gt": 2}}, "c", _LISTS),
    ("$gte", {"n": {"$gte": 2}}, "bc", _DUE),
    ("$lt", {"at": {"$lt": _AT + timedelta(hours=1)}}, "a", _LISTS),
    ("$lte", {"at": {"$lte": _AT + timedelta(hours=1)}}, "ab", _CLAIMS),
    ("$in", {"n": {"$in": [1, 3]}}, "ac", _STATES),
    ("$nin", {"n": {"$nin": [1, 3]}}, "b", _STATES),
    ("$ne", {"n": {"$ne": 1}}, "bc", _STATES),
    ("$exists", {"part": {"$exists": True}}, "ab", "A key that is narrowed to some names would see others too."),
    ("$or", {"$or": [{"n": 1}, {"name": "gamma"}]}, "ac", "A key that is narrowed to some names would see others too."),
    ("regex", {"name": re.compile("^ga")}, "c", "A key that is narrowed to names that begin alike would see others."),
    ("path", {"part.k": 2}, "b", _DEPTH),
    ("element", {"tags": "y"}, "b", "What refers to a bucket or a secret among others would not be found."),
)
"""A form, a query, the ids that are right."""

_BEFORE: Final[Document] = {"n": 1, "at": _AT, "part": {"k": 1, "l": 2}, "list": ["x", "y"]}
_UPDATES: Final[tuple[tuple[str, Mapping[str, Any], Mapping[str, Any], str], ...]] = (
    ("$set", {"$set": {"n": 5}}, {"n": 5}, _RECORDS),
    ("$unset", {"$unset": {"n": ""}}, {"n": None}, "What is done would stay due, and a revoked key its name's owner."),
    ("$inc", {"$inc": {"n": 2}}, {"n": 3}, "Counts of objects, and of what a data key has sealed, would be wrong."),
    ("$max", {"$max": {"n": 7, "at": _AT - timedelta(1)}}, {"n": 7}, "When a key was used last would run backwards."),
    ("$addToSet", {"$addToSet": {"list": "z"}}, {"list": ["x", "y", "z"]}, "A retried batch would do its work again."),
    ("$each", {"$addToSet": {"list": {"$each": ["y", "z"]}}}, {"list": ["x", "y", "z"]}, "No checkpoint could be set."),
    ("$pull", {"$pull": {"list": "x"}}, {"list": ["y"]}, "Events that were sent would be sent again."),
    ("path", {"$set": {"part.k": 9}}, {"part": {"k": 9, "l": 2}}, "Progress would replace what stands beside it."),
)  # fmt: skip
"""A form, an update of `_BEFORE`, what is then different (None: gone)."""

_EXPRESSIONS: Final[tuple[tuple[str, Any, Any, str], ...]] = (
    ("expression.field", "$n", 1, "A delivery would forget when it was due before its claim."),
    ("expression.object", {"k": 5}, {"k": 5}, "A dispatcher could not say what it does."),
    ("expression.$add", {"$add": ["$n", 1]}, 2, _CLAIMS),
    ("expression.$subtract", {"$subtract": ["$n", 1]}, 0, "A job that only waited would use up its attempts."),
    ("expression.$cond", {"$cond": [{"$in": ["$n", [1, 2]]}, "yes", "no"]}, "yes", _CLAIMS),
    ("expression.$in", {"$in": ["$n", [2, 3]]}, False, _CLAIMS),
    ("expression.$eq", {"$eq": ["$n", 1]}, True, "An endpoint's failures in a row would not be counted."),
    ("expression.$ifNull", {"$ifNull": ["$missing", "$n"]}, 1, "A job would forget when it first started."),
    ("expression.$literal", {"$literal": {"k": "$n"}}, {"k": "$n"}, "A text of a customer would be read as code."),
    (
        "expression.$dateAdd",
        {"$dateAdd": {"startDate": "$at", "unit": "millisecond", "amount": Int64(2_592_000_001)}},
        _AT + timedelta(days=30, milliseconds=1),
        _CLAIMS,
    ),
)
"""A form, what is computed from `_BEFORE` in an update, what is right."""


def _filter_ability(name: str, query: Mapping[str, Any], ids: str, breaks: str) -> Ability:
    def check(room: Room) -> None:
        shelf = _shelf(room)
        expect("it found", [found["_id"] for found in shelf.find(query).sort("_id")], list(ids))

    return Ability(f"filter.{name}", breaks, check, f"filter.{name}")


def _shelf(room: Room) -> Collection[Document]:
    return room.filled("shelf", _SHELF)


def _update_ability(name: str, change: Any, different: Mapping[str, Any], breaks: str) -> Ability:
    def check(room: Room) -> None:
        records = room.collection("updates")
        records.insert_one({"_id": name, **_BEFORE})
        records.update_one({"_id": name}, change)
        right = {field: value for field, value in {"_id": name, **_BEFORE, **different}.items() if value is not None}
        expect("the record became", records.find_one({"_id": name}), right)

    return Ability(name, breaks, check, name)


def _expression_ability(name: str, expression: Any, right: Any, breaks: str) -> Ability:
    return _update_ability(name, [{"$set": {"computed": expression}}], {"computed": right}, breaks)


def _now(room: Room) -> None:
    records = room.collection("updates")
    records.insert_one({"_id": NOW})
    records.update_one({"_id": NOW}, [{"$set": {"at": NOW}}])
    found = records.find_one({"_id": NOW})
    at = found and found.get("at")
    if not isinstance(at, datetime):
        raise ShortfallError(f"{NOW} became {at!r}")


def _multi(room: Room) -> None:
    records = room.collection("multi")
    records.insert_many([{"_id": number, "of": "us"} for number in range(3)])
    expect("it changed", records.update_many({"of": "us"}, {"$set": {"n": 1}}).modified_count, 3)


def _replace(room: Room) -> None:
    records = room.collection("replace")
    records.insert_one({"_id": 1, "old": True})
    records.replace_one({"_id": 1}, {"new": True})
    expect("the record became", records.find_one({"_id": 1}), {"_id": 1, "new": True})


def _upsert(room: Room) -> None:
    records = room.collection("upsert")
    for n in (1, 2):
        records.update_one({"_id": "u", "of": "us"}, {"$set": {"n": n}}, upsert=True)
    expect("the records became", list(records.find({})), [{"_id": "u", "of": "us", "n": 2}])


def _unordered_inserts(room: Room) -> None:
    records = room.collection("inserts")
    records.insert_one({"_id": 2})
    try:
        records.insert_many([{"_id": 1}, {"_id": 2}, {"_id": 3}], ordered=False)
    except BulkWriteError as error:
        expect("it refused with", [failed["code"] for failed in error.details["writeErrors"]], [11000])
    expect("it kept", by_id(records), [1, 2, 3])


def _unordered_updates(room: Room) -> None:
    records = room.collection("bulk")
    records.create_index("name", unique=True)
    records.insert_many([{"_id": 1, "name": "a"}, {"_id": 2, "name": "b"}, {"_id": 3, "name": "c"}])
    writes = [UpdateOne({"_id": 1}, {"$set": {"name": "c"}}), UpdateOne({"_id": 2}, {"$set": {"name": "d"}})]
    try:
        records.bulk_write(writes, ordered=False)
    except BulkWriteError as error:
        expect("it refused with", [failed["code"] for failed in error.details["writeErrors"]], [11000])
    expect("the second write left", records.find_one({"_id": 2}), {"_id": 2, "name": "d"})


def _deletes(one: bool) -> Callable[[Room], None]:
    def check(room: Room) -> None:
        records = room.collection(f"deletes_{one}")
        records.insert_many([{"_id": number, "of": "us"} for number in range(3)])
        done = records.delete_one({"of": "us"}) if one else records.delete_many({"of": "us"})
        expect("it removed", done.deleted_count, 1 if one else 3)
        expect("it left", len(by_id(records)), 2 if one else 0)

    return check


def _pipeline_unset(room: Room) -> None:
    records = room.collection("updates")
    records.insert_one({"_id": "pipeline.$unset", "due_at": _AT, "n": 1})
    records.update_one({"_id": "pipeline.$unset"}, [{"$unset": "due_at"}])
    expect("the record became", records.find_one({"_id": "pipeline.$unset"}), {"_id": "pipeline.$unset", "n": 1})


def _finds(form: str) -> Callable[[Room], None]:
    def check(room: Room) -> None:
        shelf = _shelf(room)
        match form:
            case "sort":
                expect("it gave", [found["_id"] for found in shelf.find({}).sort("n", -1)], ["c", "b", "a"])
            case "limit":
                expect("it gave", len(list(shelf.find({}).limit(2))), 2)
            case "projection":
                expect("it gave", shelf.find({"_id": "a"}, {"n": 1}).next(), {"_id": "a", "n": 1})
            case "batchSize":
                expect("it gave", len(list(shelf.find({}).batch_size(3))), 3)
            case _:
                expect("it gave", shelf.find_one({"_id": "a"}, None), _SHELF[0])

    return check


def _get_more(room: Room) -> None:
    records = room.collection("cursor")
    records.insert_many([{"_id": number} for number in range(250)])
    expect("it gave", len(by_id(records)), 250)


def _match(room: Room) -> None:
    expect("it gave", [found["_id"] for found in _shelf(room).aggregate([{"$match": {"n": 2}}])], ["b"])


def _groups(accumulated: bool) -> Callable[[Room], None]:
    def check(room: Room) -> None:
        records = room.collection(f"groups_{accumulated}")
        records.insert_many(
            [{"_id": 1, "of": "a", "n": 2}, {"_id": 2, "of": "a", "n": 3}, {"_id": 3, "of": "b", "n": 4}]
        )
        sums = {"count": {"$sum": 1}, "sum": {"$sum": "$n"}} if accumulated else {}
        groups = sorted(
            records.aggregate([{"$group": {"_id": {"of": "$of"}, **sums}}]), key=lambda row: str(row["_id"])
        )
        right = [{"_id": {"of": "a"}, "count": 2, "sum": 5}, {"_id": {"of": "b"}, "count": 1, "sum": 4}]
        expect("it gave", groups, right if accumulated else [{"_id": row["_id"]} for row in right])

    return check


def _ability(name: str, breaks: str, check: Callable[[Room], None]) -> Ability:
    return Ability(name, breaks, check, name)


FORMS: Final[tuple[Ability, ...]] = (
    *(_filter_ability(*row) for row in _FILTERS),
    *(_update_ability(f"update.{name}", change, right, breaks) for name, change, right, breaks in _UPDATES),
    _ability("update.multi", "A user who is suspended would keep all keys but one.", _multi),
    _ability("update.replace", "A ledger's place and an execution's result could not be written anew.", _replace),
    _ability("update.upsert", "No process could say that it lives, so that health would never be OK.", _upsert),
    _ability("update.unordered", "Documents of a batch behind a refused one would be missing.", _unordered_updates),
    _ability("insert.unordered", "Objects and events behind a known one would be lost.", _unordered_inserts),
    _ability("delete.one", "A process that ends would take others' heartbeats with it.", _deletes(one=True)),
    _ability("delete.many", "A deleted namespace would leave its data behind.", _deletes(one=False)),
    _update_ability("pipeline.$set", [{"$set": {"n": 5}}], {"n": 5}, _CLAIMS),
    _update_ability("pipeline.path", [{"$set": {"part.k": 9}}], {"part": {"k": 9, "l": 2}}, _DEPTH),
    _ability("pipeline.$unset", "A job or delivery that has ended would be claimed again for ever.", _pipeline_unset),
    *(_expression_ability(*row) for row in _EXPRESSIONS),
    _ability(f"variable.{NOW}", _CLAIMS, _now),
    _ability("find.sort", "Lists would be out of order, and pages leave records out.", _finds("sort")),
    _ability("find.limit", "A look at what is due would read all of it.", _finds("limit")),
    _ability("find.projection", "Looks at ids alone would fetch whole documents.", _finds("projection")),
    _ability("find.batchSize", "A namespace with much data could not be emptied.", _finds("batchSize")),
    _ability("find.singleBatch", "No record could be read by its id.", _finds("singleBatch")),
    _ability("cursor.getMore", "Nothing behind the first hundred records of a query would be seen.", _get_more),
    _ability("stage.$match", "Counts and sums of usage would be those of all customers.", _match),
    _ability("stage.$group", "Usage could not be summed, nor totals counted.", _groups(accumulated=False)),
    _ability("group.$sum", "Usage could not be summed, nor totals counted.", _groups(accumulated=True)),
)  # fmt: skip
