from pathlib import Path

import pytest

from core.storage.command_log import CommandLog, CommandShape, shapes
from tests.command_oracle import obeys, violations

BOTH = {"internal_id": "int_1", "namespace_id": "ns_1"}


@pytest.mark.parametrize(
    ("operation", "command", "obeyed"),
    [
        ("find", {"find": "documents", "filter": {"_id": "doc_1", **BOTH}}, True),
        ("find", {"find": "documents", "filter": {"_id": "doc_1", "internal_id": "int_1"}}, False),
        ("find", {"find": "documents", "filter": {"_id": "doc_1"}}, False),
        ("find", {"find": "documents", "filter": {**BOTH, "namespace_id": None}}, False),
        ("find", {"find": "documents", "filter": {**BOTH, "namespace_id": {"$ne": ""}}}, False),
        ("find", {"find": "ledger", "filter": {"internal_id": "int_1"}}, True),
        ("find", {"find": "ledger", "filter": {}}, False),
        ("find", {"find": "jobs", "filter": {"_id": "task_1"}}, True),
        ("find", {"find": "jobs", "filter": {"_id": "task_1", "state": "queued"}}, False),
        ("insert", {"insert": "documents", "documents": [{"_id": "1", **BOTH}]}, True),
        ("insert", {"insert": "documents", "documents": [{"_id": "1"}]}, False),
        ("update", {"update": "objects", "updates": [{"q": {"_id": "1", **BOTH}, "u": {}}]}, True),
        ("update", {"update": "objects", "updates": [{"q": {"_id": "1"}, "u": {}}]}, False),
        ("delete", {"delete": "objects", "deletes": [{"q": {"_id": "1"}, "limit": 1}]}, False),
        ("aggregate", {"aggregate": "objects", "pipeline": [{"$match": BOTH}, {"$count": "n"}]}, True),
        ("aggregate", {"aggregate": "objects", "pipeline": [{"$count": "n"}]}, False),
        ("aggregate", {"aggregate": "objects", "pipeline": [{"$match": BOTH}, {"$lookup": {}}]}, False),
        ("drop", {"drop": "objects"}, False),
        ("hello", {"hello": 1}, True),
    ],
)
def test_a_command_is_judged_by_the_list_of_its_handle(
    operation: str, command: dict[str, object], obeyed: bool
) -> None:
    assert all(obeys(shape) for shape in shapes(operation, command)) is obeyed


def test_what_steps_outside_is_found_in_the_log_of_any_process(tmp_path: Path) -> None:
    good, bad = CommandShape("find", "jobs", ("_id",), ()), CommandShape("find", "documents", ("_id",), ())
    log = CommandLog(tmp_path)
    for shape in (good, bad, bad):
        log.note(shape)
    assert violations(tmp_path) == [bad]
    assert len(next(tmp_path.iterdir()).read_bytes().splitlines()) == 2
