"""500 random edits of an audit log, by somebody who may write to the database and the object storage: 500 found.

Each edit is made on the real records, looked for by what `keystage audit verify` runs, and taken back.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from core.audit.entry import AuditEntry
from core.audit.examination import Auditor
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document
from core.tenancy.tenant import Organization
from tests.audit_log import AuditWorld, configured, record
from tests.engines import meets

EDITS = 500
ENTRIES = 210
OLD_HEAD_SEQ = ENTRIES // 2
SEED = 20261125
_STRANGER = Keyring("test", [configured("k2", 99)])
"""A key of the right name that is not the operator's."""


class Log:
    """The stored records of two organizations, with a way back from every change."""

    def __init__(
        self,
        database: Database[Document],
        world: AuditWorld,
        organizations: tuple[Organization, Organization],
        old_head: Document,
    ) -> None:
        self.world, self.old_head = world, old_head
        mine, other = self.mine, self.other = organizations
        self._database = database
        self._originals = {
            name: {document["_id"]: document for document in database[name].find({})}
            for name in ("audit", "audit_heads", "audit_checkpoints")
        }
        self._touched: set[tuple[str, Any]] = set()
        self.blobs = {path: path.read_bytes() for path in world.folder.rglob("*.json")}
        stored = self._originals["audit"].values()
        self.entries = sorted((one for one in stored if one["internal_id"] == mine.internal_id), key=_seq)
        self.others = sorted((one for one in stored if one["internal_id"] == other.internal_id), key=_seq)
        self.head = self._originals["audit_heads"][mine.internal_id]
        found = self._originals["audit_checkpoints"].values()
        self.checkpoints = sorted(
            (one for one in found if one["internal_id"] == mine.internal_id), key=lambda one: int(one["number"])
        )

    def put(self, name: str, document: Document) -> None:
        """Write a record as it is given."""
        self._touched.add((name, document["_id"]))
        try:
            self._database[name].replace_one({"_id": document["_id"]}, document, upsert=True)
        except DuplicateKeyError as error:
            # whoever may write may also make room
            place = (error.details or {})["keyValue"]
            self.drop(name, self._database[name].find(place)[0])
            self.put(name, document)

    def drop(self, name: str, *documents: Document) -> None:
        """Remove records."""
        ids = [document["_id"] for document in documents]
        self._touched.update((name, one) for one in ids)
        self._database[name].delete_many({"_id": {"$in": ids}})

    def write_blob(self, path: Path, content: bytes | None) -> None:
        """Replace a blob, or remove it."""
        path.unlink() if content is None else path.write_bytes(content)

    def restore(self) -> None:
        """Take everything back."""
        for name, originals in self._originals.items():
            ids = [record_id for touched, record_id in self._touched if touched == name]
            if ids:
                self._database[name].delete_many({"_id": {"$in": ids}})
            if back := [originals[one] for one in ids if one in originals]:
                self._database[name].insert_many(back)
        self._touched.clear()
        for path, content in self.blobs.items():
            path.write_bytes(content)


def _seq(document: Document) -> int:
    return int(document["seq"])


def _other_value(rng: random.Random, value: object) -> object:
    """Something else that could stand there."""
    match value:
        case None:
            return rng.choice(["x", 0, False])
        case bool():
            return not value
        case int():
            return rng.choice([value + 1, value - 1, float(value), str(value)])
        case datetime():
            return rng.choice([value + timedelta(milliseconds=1), value.isoformat(), None])
        case str():
            place = rng.randrange(len(value) + 1)
            return rng.choice([value + " ", value[:-1] + "~", value[:place] + "!" + value[place:], None])
        case _:
            return {"fields": ["x"], "before": None, "after": None}


def _changed(rng: random.Random, document: Document, *spared: str) -> Document:
    """The record with one field changed, removed or added."""
    how = rng.random()
    name = rng.choice(sorted(document.keys() - {"_id", *spared}))
    if how < 0.1:
        return {**document, rng.choice(["note", "seq2", "Mac"]): 1}
    if how < 0.2:
        return {key: value for key, value in document.items() if key != name}
    return {**document, name: _other_value(rng, document[name])}


# Edits of entries -------------------------------------------------------------------------------------


def change_field(log: Log, rng: random.Random) -> None:
    # the schema refuses an entry without a text for internal_id: that edit is `move`
    log.put("audit", _changed(rng, rng.choice(log.entries), "internal_id"))


def rename(log: Log, rng: random.Random) -> None:
    entry = rng.choice(log.entries)
    log.drop("audit", entry)
    log.put("audit", {**entry, "_id": entry["_id"] + "x"})


def reseal_with_another_key(log: Log, rng: random.Random) -> None:
    entry = AuditEntry.from_document({**rng.choice(log.entries), "reason": "forged"})
    log.put("audit", entry.sealed(_STRANGER.newest).to_document())


def replace_mac(log: Log, rng: random.Random) -> None:
    entry, other = rng.sample(log.entries, 2)
    log.put("audit", {**entry, rng.choice(["mac", "prev_mac"]): rng.choice([other["mac"], rng.randbytes(32).hex()])})


def delete(log: Log, rng: random.Random) -> None:
    first = rng.randrange(len(log.entries))
    log.drop("audit", *log.entries[first : first + rng.choice([1, 1, 1, 2, 7])])


def delete_and_close_the_gap(log: Log, rng: random.Random) -> None:
    place = rng.randrange(1, len(log.entries) - 1)
    entry, after = log.entries[place], log.entries[place + 1]
    log.drop("audit", entry)
    log.drop("audit", after)
    log.put("audit", {**after, "seq": entry["seq"], "prev_mac": entry["prev_mac"]})


def swap(log: Log, rng: random.Random) -> None:
    one, two = rng.sample(log.entries, 2)
    log.drop("audit", one)
    log.drop("audit", two)
    carried = rng.choice([["seq"], ["seq", "prev_mac"], ["seq", "prev_mac", "mac"]])
    log.put("audit", {**one, **{name: two[name] for name in carried}})
    log.put("audit", {**two, **{name: one[name] for name in carried}})


def insert(log: Log, rng: random.Random) -> None:
    last = log.entries[-1]
    seq = rng.choice([last["seq"] + 1, last["seq"] + 50, 10**9, 0, -1, rng.randrange(1, last["seq"]) + 0.5, "7", None])
    mac = rng.choice([last["mac"], rng.randbytes(32).hex()])
    log.put("audit", {**rng.choice(log.entries), "_id": "aud_new", "seq": seq, "prev_mac": last["mac"], "mac": mac})


def truncate(log: Log, rng: random.Random) -> None:
    log.drop("audit", *log.entries[-rng.choice([1, 2, 5, 40, ENTRIES]) :])


def truncate_and_take_the_head_back(log: Log, rng: random.Random) -> None:
    """To a head that was true once. Nothing but a checkpoint knows more."""
    log.drop("audit", *log.entries[OLD_HEAD_SEQ:])
    log.put("audit_heads", log.old_head)


def move(log: Log, rng: random.Random) -> None:
    entry = rng.choice(log.entries)
    seq = rng.choice([entry["seq"] + 1000, len(log.others) + 1])
    log.put("audit", {**entry, "internal_id": log.other.internal_id, "seq": seq})


# Edits of the head and of checkpoints -----------------------------------------------------------------


def delete_head(log: Log, rng: random.Random) -> None:
    log.drop("audit_heads", log.head)
    if rng.random() < 0.5:
        truncate(log, rng)


def change_head(log: Log, rng: random.Random) -> None:
    log.put("audit_heads", _changed(rng, log.head, "internal_id"))


def truncate_and_change_head(log: Log, rng: random.Random) -> None:
    keep = rng.randrange(ENTRIES // 2, ENTRIES - 1)
    log.drop("audit", *log.entries[keep:])
    log.put("audit_heads", {**log.head, "seq": keep, "mac": log.entries[keep - 1]["mac"]})


def change_checkpoint(log: Log, rng: random.Random) -> None:
    log.put("audit_checkpoints", _changed(rng, rng.choice(log.checkpoints), "internal_id"))


def delete_checkpoint(log: Log, rng: random.Random) -> None:
    log.drop("audit_checkpoints", rng.choice(log.checkpoints))


def move_checkpoint(log: Log, rng: random.Random) -> None:
    checkpoint = rng.choice(log.checkpoints)
    log.put("audit_checkpoints", {**checkpoint, "internal_id": log.other.internal_id, "number": 99})


def change_blob(log: Log, rng: random.Random) -> None:
    path = rng.choice(sorted(log.blobs))
    fields = json.loads(log.blobs[path])
    broken = [b"", b"[]", b"{", log.blobs[path][:-3]]
    how = rng.random()
    log.write_blob(path, rng.choice(broken) if how < 0.2 else json.dumps(_changed(rng, fields)).encode())


def delete_blob(log: Log, rng: random.Random) -> None:
    log.write_blob(rng.choice(sorted(log.blobs)), None)


def delete_checkpoint_in_both_places(log: Log, rng: random.Random) -> None:
    """Any but the newest: that one is what the operator's retention lock is for."""
    checkpoint = rng.choice(log.checkpoints[:-1])
    log.drop("audit_checkpoints", checkpoint)
    log.write_blob(log.world.folder / f"audit/{log.mine.organization_id}/{checkpoint['seq']}.json", None)


Edit = Callable[[Log, random.Random], None]
_EDITS: tuple[Edit, ...] = (
    *[change_field] * 5, rename, reseal_with_another_key, replace_mac, delete, delete_and_close_the_gap, swap, insert,
    insert, truncate, truncate_and_take_the_head_back, move, delete_head, change_head, truncate_and_change_head,
    change_checkpoint, delete_checkpoint, move_checkpoint, change_blob, delete_blob, delete_checkpoint_in_both_places,
)  # fmt: skip


@pytest.fixture
def log(handles: Handles, tmp_path: Path, database: Database[Document]) -> Log:
    """Two organizations with entries and checkpoints."""
    world = AuditWorld(handles, tmp_path / "blobs")
    mine, other = world.organization(), world.organization()
    trail, checkpointer = world.trail(), world.checkpointer()
    old_head: Document | None = None
    for number in range(1, ENTRIES + 1):
        trail.append(mine.scope, record(number))
        if number == OLD_HEAD_SEQ:
            old_head = trail.stored_head(mine.scope)
        if number % 70 == 0:
            world.checkpointer().run() if number == 70 else checkpointer.run()
    for number in range(5):
        trail.append(other.scope, record(number))
    checkpointer.run()
    assert old_head is not None
    return Log(database, world, (mine, other), old_head)


@meets("unique.freed_by_replace")
def test_every_edit_of_a_log_is_found(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    auditor, rng = log.world.auditor(), random.Random(SEED)
    assert _findings(auditor, log) == 0
    missed: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for number in range(EDITS):
        edit = _EDITS[number % len(_EDITS)]
        made[edit.__name__] += 1
        edit(log, rng)
        missed[edit.__name__] += not _findings(auditor, log)
        log.restore()
    assert _findings(auditor, log) == 0
    with capsys.disabled():
        print(f"\nedits {made.total()}, found {made.total() - missed.total()}")
    assert (made.total(), +missed) == (EDITS, Counter())


def _findings(auditor: Auditor, log: Log) -> int:
    return sum(len(auditor.examine(organization).findings) for organization in (log.mine, log.other))
