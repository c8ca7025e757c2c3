"""The rule of waiting: half a second, doubled up to thirty, taken apart by chance; an end for each kind but one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.backends.backend import Backend
from core.jobs.away import gives_up_at, needed, next_try
from core.jobs.job import MAINTENANCE, Job, JobKind, job_from_document

MADE_AT = datetime(2026, 12, 1, tzinfo=UTC)
DAY, QUARTER = 86_400.0, 900.0


def job(kind: JobKind) -> Job:
    document: dict[str, Any] = {
        "_id": "task_1", "internal_id": "int_1", "namespace_id": "ns_1", "kind": kind.value, "state": "running",
        "spec": {}, "hold": 0, "hold_id": "task_1", "fence": 1, "attempts": 1, "request_id": "req_1", "awaited": False,
        "cancel_requested": False, "done": [], "progress": {}, "events": [], "created_at": MADE_AT,
    }  # fmt: skip
    return job_from_document(document)


def test_a_wait_doubles_up_to_thirty_seconds() -> None:
    waits = [next_try(number, False, lambda: 0.0).total_seconds() for number in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert next_try(1_000_000, False, lambda: 0.0) == timedelta(seconds=30)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 8.0), (0.5, 6.0), (1.0, 4.0)])
def test_chance_takes_off_up_to_a_half(chance: float, seconds: float) -> None:
    assert next_try(4, False, lambda: chance).total_seconds() == seconds


@pytest.mark.parametrize(("waits", "seconds"), [(0, 2.0), (2, 2.0), (5, 16.0)])
def test_a_job_that_a_caller_waits_for_is_left_to_the_caller_first(waits: int, seconds: float) -> None:
    assert next_try(waits, True, lambda: 0.0).total_seconds() == seconds


def test_each_kind_gives_up_at_its_own_age_and_maintenance_never() -> None:
    ages = {kind: gives_up_at(job(kind), DAY, QUARTER) for kind in JobKind}
    assert ages.pop(JobKind.INGESTION) == MADE_AT + timedelta(days=1)
    assert ages.pop(JobKind.RETRIEVER) == MADE_AT + timedelta(minutes=15)
    assert ages == dict.fromkeys(MAINTENANCE)


def test_every_kind_needs_ray_and_an_execution_without_collections_no_vectors() -> None:
    assert all(Backend.RAY in needed(job(kind)) for kind in JobKind)
    assert needed(job(JobKind.RETRIEVER)) == {Backend.RAY}
    searching = replace(job(JobKind.RETRIEVER), spec={"collection_ids": ["col_1"]})
    assert needed(searching) == {Backend.RAY, Backend.VECTORS}
    search = {"searches": [{"feature_uri": "f", "query": "text"}], "api_key": "{{secrets.mine}}"}
    stage = {"stage_name": "a", "config": {"stage_id": "feature_search", "parameters": search}}
    embedding = replace(job(JobKind.RETRIEVER), spec={"collection_ids": ["col_1"], "stages": [stage]})
    assert needed(embedding) == {Backend.RAY, Backend.VECTORS, Backend.EMBEDDER}, "the data key may be in memory"
    # what some batches hold in themselves is read from nowhere
    assert Backend.BLOBS not in needed(job(JobKind.INGESTION))
