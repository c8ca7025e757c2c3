"""An entry's seal covers every field, and an entry never holds a value that was changed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.audit.entry import NOTHING, AuditEntry, Tip, digest_changes, is_genuine, next_entry
from core.audit.seal import encode
from core.clock import now
from tests.audit_log import KEYRING, record

AT = now()


def entry(tip: Tip = NOTHING) -> AuditEntry:
    return next_entry(record(), KEYRING.newest, tip, audit_id="aud_1", internal_id="int_1", at=AT)


def _another(value: Any) -> Any:
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, int):
        return value + 1
    return "x" if value is None else value + timedelta(milliseconds=1)


@pytest.mark.parametrize("name", sorted(entry().to_document()))
def test_the_seal_covers_each_field(name: str) -> None:
    document = entry().to_document()
    assert is_genuine(KEYRING, document)
    assert not is_genuine(KEYRING, {**document, name: _another(document[name])})
    assert not is_genuine(KEYRING, {key: value for key, value in document.items() if key != name})


def test_a_field_more_breaks_the_seal() -> None:
    assert not is_genuine(KEYRING, {**entry().to_document(), "note": None})


def test_a_value_of_a_foreign_type_breaks_the_seal() -> None:
    assert not is_genuine(KEYRING, {**entry().to_document(), "reason": b"none"})


def test_an_entry_is_read_as_it_was_written() -> None:
    assert AuditEntry.from_document(entry().to_document()) == entry()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        ({"a": "b"}, {"a": ["b"]}),
        ({"ab": ""}, {"a": "b"}),
        (1, "1"),
        (1, 1.0),
        (1, True),
        (None, ""),
        (AT, AT.isoformat()),
        ([], {}),
        ({"a": None}, {}),
    ],
)
def test_different_values_are_different_bytes(one: object, other: object) -> None:
    assert encode(one) != encode(other)


def test_the_order_of_names_makes_no_difference() -> None:
    assert encode({"a": 1, "b": 2}) == encode({"b": 2, "a": 1})


def test_texts_of_strangers_are_cut_and_lose_their_control_characters() -> None:
    sent = replace(record(), user_agent="curl\r\nfake log line\x1b[2J" + "x" * 500)
    made = next_entry(sent, KEYRING.newest, NOTHING, audit_id="aud_1", internal_id="int_1", at=AT)
    assert made.user_agent is not None
    assert (len(made.user_agent), made.user_agent[:10]) == (256, "curlfake l")


def test_a_change_is_told_by_names_and_digests() -> None:
    before, after = {"url": "https://old.example", "name": "n"}, {"url": "https://new.example", "name": "n", "x": 1.5}
    told = digest_changes(KEYRING.newest, "int_1", before, after)
    assert told.fields == ("url", "x")
    assert told.before != told.after
    assert "example" not in repr(told)
    assert digest_changes(KEYRING.newest, "int_2", before, after).before != told.before
    assert digest_changes(KEYRING.newest, "int_1", None, after).before is None
