"""The oracle over MongoDB commands: what it lets pass, and that it sees each way of stepping outside a tenant."""

import pytest

from core.storage.command_log import CommandShape
from core.storage.handles import ORGANIZATION_COLLECTIONS, SYSTEM_COLLECTIONS
from core.storage.schema import NAMESPACED, SCHEMA
from tests.command_oracle import SYSTEM_QUERIES, obeys

BOTH = ("internal_id", "namespace_id")
OPERATIONS = ("find", "insert", "update", "delete", "aggregate")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_tenants_collections_need_its_ids(operation: str) -> None:
    for name in sorted(SCHEMA.keys() - {"leases", "heartbeats"}):
        fields = ("internal_id", "name") if operation != "insert" else ()
        assert obeys(CommandShape(operation, name, fields, BOTH))
        assert not obeys(CommandShape(operation, name, ("name",), ())), name
        assert not obeys(CommandShape(operation, name, ("name",), ("namespace_id",))), name
        one_id_is_enough = name in ORGANIZATION_COLLECTIONS
        assert obeys(CommandShape(operation, name, fields, ("internal_id",))) is one_id_is_enough, name


@pytest.mark.parametrize("step", ["$lookup", "$unionWith", "$graphLookup", "$out", "$merge"])
def test_a_pipeline_may_not_leave_its_collection(step: str) -> None:
    assert not obeys(CommandShape("aggregate", "documents", BOTH, BOTH, (step,)))


def test_system_queries_are_a_closed_list_of_the_system_handles_collections() -> None:
    assert {query.collection for query in SYSTEM_QUERIES} <= SYSTEM_COLLECTIONS
    assert all(query.why for query in SYSTEM_QUERIES)
    for query in SYSTEM_QUERIES:
        for operation in query.operations - {"insert"}:
            assert obeys(CommandShape(operation, query.collection, tuple(query.fields), ()))
        if query.collection not in {"leases", "heartbeats"}:
            assert not obeys(CommandShape("find", query.collection, (*query.fields, "another"), ()))
            assert not obeys(CommandShape("insert", query.collection, (), ()))


def test_data_of_namespaces_has_no_system_queries_but_those_of_jobs_and_deliveries() -> None:
    assert {query.collection for query in SYSTEM_QUERIES} & set(NAMESPACED) == {"jobs", "deliveries"}
