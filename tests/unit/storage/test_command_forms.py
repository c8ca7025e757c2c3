"""The forms of a command: each operator and option with its place, and nothing that a command only carries along."""

import re
from typing import Any

import pytest

from core.storage.command_forms import forms_of


@pytest.mark.parametrize(
    ("name", "command", "forms"),
    [
        ("find", {"find": "c", "filter": {}, "lsid": {}, "$db": "d", "limit": 0}, ""),
        (
            "find",
            {"find": "c", "filter": {"$or": [{"a.b": {"$in": [1, re.compile("^x")]}}]}, "limit": 1, "sort": {"n": 1}},
            "filter.$or filter.path filter.$in filter.regex find.limit find.sort",
        ),
        ("find", {"find": "c", "filter": {}, "collation": {"locale": "de"}}, "find.collation"),
        ("insert", {"insert": "c", "documents": [{"$x": 1}], "ordered": False}, "insert.unordered"),
        (
            "update",
            {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a.b": {"$literal": 1}}}, "upsert": True}]},
            "update.$set update.path update.$literal update.upsert",
        ),
        (
            "update",
            {"update": "c", "updates": [{"q": {}, "u": {"$pull": {"e": {"id": {"$in": []}}}}, "arrayFilters": [1]}]},
            "update.$pull filter.$in update.arrayFilters",
        ),
        ("update", {"update": "c", "updates": [{"q": {}, "u": {"a": 1}, "multi": False}]}, "update.replace"),
        (
            "update",
            {"update": "c", "updates": [{"q": {}, "u": [{"$set": {"a": {"$add": ["$b", 1]}}}, {"$unset": "c"}]}]},
            "pipeline.$set expression.$add expression.field pipeline.$unset",
        ),
        (
            "update",
            {"update": "c", "updates": [{"q": {}, "u": [{"$set": {"at": "$$NOW", "b": {"$literal": {"$no": 1}}}}]}]},
            "pipeline.$set variable.$$NOW expression.$literal",
        ),
        ("delete", {"delete": "c", "deletes": [{"q": {"n": {"$lt": 1}}, "limit": 0}]}, "delete.many filter.$lt"),
        (
            "aggregate",
            {
                "aggregate": "c",
                "pipeline": [{"$match": {"n": {"$gt": 1}}}, {"$group": {"_id": "$n", "s": {"$sum": 1}}}],
            },
            "stage.$match filter.$gt stage.$group expression.field group.$sum",
        ),
        (
            "createIndexes",
            {"createIndexes": "c", "indexes": [{"key": {}, "name": "n", "unique": False, "expireAfterSeconds": 0}]},
            "index.expireAfterSeconds",
        ),
        ("create", {"create": "c", "validator": {"$jsonSchema": {}}}, "validator.$jsonSchema"),
        ("getMore", {"getMore": 1, "collection": "c", "batchSize": 2}, "cursor.getMore"),
        ("hello", {"hello": 1}, ""),
    ],
)
def test_a_command_is_read_form_by_form(name: str, command: dict[str, Any], forms: str) -> None:
    assert forms_of(name, command) == set(forms.split())
