"""What a server must do beyond its language: keep time, keep to its indexes and validators, heed concerns, explain."""

import json
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo.errors import OperationFailure

from core.storage.abilities.ability import Ability, Room, ShortfallError, expect
from core.storage.moments import NOW

_NEAR: Final = timedelta(seconds=1)
_TICK_SECONDS = 0.005


def _clock(room: Room) -> None:
    earlier = _local_time(room)
    time.sleep(_TICK_SECONDS)
    later = _local_time(room)
    if later <= earlier:
        raise ShortfallError(f"`hello` said {earlier} and then {later}")
    records = room.filled("clock", [{"_id": 0}])
    # between two looks, for a server may take its time over a write
    before = _local_time(room)
    records.update_one({"_id": 0}, [{"$set": {"at": NOW}}])
    after = _local_time(room)
    (found,) = records.find({})
    if not before - _NEAR <= found["at"] <= after + _NEAR:
        raise ShortfallError(f"`hello` said {before} and {after} when {NOW} was {found['at']}")


def _local_time(room: Room) -> datetime:
    # aware of its zone, as the collections' own moments are
    answer = room.database.client.admin.command("hello", codec_options=room.database.codec_options)
    moment = answer.get("localTime")
    if not isinstance(moment, datetime):
        raise ShortfallError("`hello` says no localTime")
    return moment


def _explain(room: Room) -> None:
    records = room.filled("explained", [{"_id": 0, "indexed": 1, "bare": 1}])
    records.create_index("indexed")
    for field, step in (("indexed", 'IXSCAN"'), ("bare", 'COLLSCAN"')):
        try:
            plan = json.dumps(records.find({field: 1}).explain()["queryPlanner"], default=str)
        except KeyError as error:
            raise ShortfallError("`explain` shows no plan") from error
        # what stands before it differs between versions
        if step not in plan:
            raise ShortfallError(
                f"`explain` of a query {'on' if field == 'indexed' else 'off'} an index names no {step}"
            )


def _sparse(room: Room) -> None:
    records = room.collection("sparse")
    records.create_index("due_at", sparse=True, unique=True)
    try:
        records.insert_many([{"_id": 1}, {"_id": 2}, {"_id": 3, "due_at": 1}])
    except OperationFailure as error:
        raise ShortfallError("documents without the field were put into a sparse index") from error
    expect("the index says of sparse", _index_of(room, "sparse", "due_at").get("sparse"), True)


def _time_to_live(room: Room) -> None:
    room.collection("ttl").create_index("expires_at", expireAfterSeconds=0)
    expect("the index says", _index_of(room, "ttl", "expires_at").get("expireAfterSeconds"), 0)


def _index_of(room: Room, collection: str, field: str) -> Mapping[str, Any]:
    found = room.collection(collection).index_information()
    return next((index for index in found.values() if dict(index["key"]).keys() == {field}), {})


def _validator(room: Room) -> None:
    records = room.collection("validated")
    rules = {"bsonType": "object", "required": ["id"], "properties": {"id": {"bsonType": "string", "minLength": 1}}}
    room.database.create_collection(records.name, validator={"$jsonSchema": rules})
    records.insert_one({"_id": 1, "id": "x"})
    for document in ({"_id": 2}, {"_id": 3, "id": ""}, {"_id": 4, "id": None}):
        try:
            records.insert_one(document)
        except OperationFailure:
            continue
        raise ShortfallError(f"{document} was stored in spite of the validator")


def _write_concern(room: Room) -> None:
    records = room.filled("acknowledged", [{"_id": 0}])
    insert = {"insert": records.name, "documents": [{"_id": 1}]}
    # more members than any set has: whoever acknowledges it does not look at what a write waits for
    concern = {"w": 50, "j": True, "wtimeout": 1}
    try:
        answer = room.database.command({**insert, "writeConcern": concern})
    except OperationFailure:
        return
    if not answer.get("writeConcernError"):
        raise ShortfallError("a write that 50 members should confirm was acknowledged")


def _read_concern(room: Room) -> None:
    records = room.filled("read", [{"_id": 0}])
    find: dict[str, Any] = {"find": records.name, "filter": {}}
    found = room.database.command({**find, "readConcern": {"level": "majority"}})["cursor"]["firstBatch"]
    expect("a read of what a majority has found", found, [{"_id": 0}])
    try:
        room.database.command({**find, "readConcern": {"level": "keystage"}})
    except OperationFailure:
        return
    raise ShortfallError("a read with a concern that does not exist was answered")


SERVER: Final[tuple[Ability, ...]] = (
    Ability("clock", "Leases and due times have no clock: no job could be claimed, or one by two workers.", _clock),
    Ability(
        "explain",
        "Nobody could see which index a query takes, nor why one is slow. Keystage itself never asks.",
        _explain,
    ),
    Ability(
        "index.sparse",
        "The look at what is due would walk through everything that ever ended.",
        _sparse,
        "index.sparse",
    ),
    Ability(
        "index.expireAfterSeconds",
        "Old heartbeats, answers to Idempotency-Keys and days of secrets' use would stay for ever.",
        _time_to_live,
        "index.expireAfterSeconds",
    ),
    Ability(
        "validator.$jsonSchema",
        "A record without its tenant could be stored, and no customer would own it.",
        _validator,
        "validator.$jsonSchema",
    ),
    Ability(
        "write_concern",
        "What was acknowledged could be lost with one server: jobs, holds and events.",
        _write_concern,
    ),
    Ability("read_concern", "A read could show what is taken back afterwards.", _read_concern),
)
