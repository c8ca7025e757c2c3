"""An entry and its hash: what an entry was for is sealed, and an entry that does not say is what it always was."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.credits.entry import Entry, EntryKind

USAGE = {"operation": "ingestion", "namespace_id": "ns_1", "batch_id": "btch_1", "collection_ids": ["col_1"]}
OLD_HASH = "36d1d40e1a9d1e3df4781572849f1a088e12aa85f152a9bbd10f0773673af6d5"
"""Of `OLD`, as it was computed when there was no usage."""
OLD = {
    "internal_id": "int_a", "seq": 7, "op_id": "cap:task_1", "kind": "capture", "amount": 1_200, "hold_id": "task_1",
    "posted_after": 8_800, "held_after": 0, "price_version": "2026-11",
    "at": datetime(2026, 11, 5, 12, 0, 0, 250_000, tzinfo=UTC), "prev_hash": "ab" * 32, "hash": OLD_HASH,
    "terminal": True,
}  # fmt: skip


def test_an_older_entry_is_read_and_keeps_its_hash() -> None:
    entry = Entry.from_document(OLD)
    assert (entry.usage, entry.kind, entry.computed_hash()) == (None, EntryKind.CAPTURE, OLD_HASH)
    assert entry.to_document() == OLD


def test_what_an_entry_was_for_comes_back_and_is_sealed() -> None:
    sealed = replace(Entry.from_document(OLD), usage=USAGE).sealed()
    stored = sealed.to_document()
    assert Entry.from_document(stored) == sealed
    assert stored["usage"] == USAGE
    assert sealed.hash == sealed.computed_hash() != OLD_HASH


@pytest.mark.parametrize("changed", [None, {}, {**USAGE, "namespace_id": "ns_2"}, {**USAGE, "collection_ids": []}])
def test_a_changed_purpose_is_found(changed: dict[str, object] | None) -> None:
    sealed = replace(Entry.from_document(OLD), usage=USAGE).sealed()
    forged = Entry.from_document({**sealed.to_document(), "usage": changed})
    assert forged.computed_hash() != forged.hash


def test_a_purpose_that_was_added_later_is_found() -> None:
    forged = Entry.from_document({**OLD, "usage": USAGE})
    assert forged.computed_hash() != forged.hash
