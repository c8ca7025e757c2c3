"""What one customer, one job or one part does to the others: nothing. `make absence` is the long form of the first."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from core.backends.backend import Backend
from tests.e2e.beside import search_beside_a_long_document
from tests.e2e.customer import SEARCH
from tests.e2e.figures import Row, broken
from tests.e2e.poison import poison
from tests.e2e.scene import play
from tests.e2e.world import SECONDS_A_TEXT, World, world
from tests.gate import Manner

_AWAY_SECONDS = 4.0
_OBJECTS = 60
_SEARCHES = 50
_MOST_ATTEMPTS = 3
_NEIGHBOURS = 10
_END_SECONDS = 180.0
_SHORTEST_DOCUMENT_SECONDS = 15.0
# a few: `make absence` plays all of them, which takes half an hour; the others have integration tests
_SHORT_ROWS = (
    Row(Backend.BLOBS, Manner.UNAVAILABLE),
    Row(Backend.KEY_SERVICE, Manner.KILLED),
    Row(Backend.VECTORS, Manner.FROZEN),
    Row(Backend.MONGO, Manner.FROZEN),
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One stack for all of these."""
    settings = {"KEYSTAGE_JOB_MAX_ATTEMPTS": str(_MOST_ATTEMPTS)}
    with world(tmp_path_factory.mktemp("absence"), settings) as made:
        yield made


def test_searches_do_not_wait_behind_another_customers_long_documents(
    stage: World, capsys: pytest.CaptureFixture[str]
) -> None:
    found = search_beside_a_long_document(
        stage.batches,
        stage.searches,
        _SEARCHES,
        # on a slow machine everything takes longer, and the document must too
        lambda alone: int(max(_SHORTEST_DOCUMENT_SECONDS, sum(alone.seconds)) / SECONDS_A_TEXT),
    )
    with capsys.disabled():
        print(f"\n{found}")
    assert found.status == "COMPLETED"
    assert found.beside.ended_at < found.document_ended_at


@pytest.mark.parametrize("row", _SHORT_ROWS, ids=lambda row: row.name)
def test_a_part_that_is_away_is_nobodys_attempt(stage: World, row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    figures = play(stage, row, _OBJECTS, _AWAY_SECONDS)
    with capsys.disabled():
        print(f"\n{json.dumps(asdict(figures))}")
    assert broken(figures) == []


def test_a_job_that_kills_its_actor_ends_after_its_attempts_and_only_itself(stage: World) -> None:
    customer, path = stage.searches, "/v1/retrievers/{}/execute"
    body = {"inputs": {"query": "bread"}, "limit": 3}
    with poison(stage.stack) as service, customer.client() as client, stage.batches.client() as neighbour:
        call = {"url": service.url, "allowed_domains": ["127.0.0.1"]}
        stages = [SEARCH, {"stage_id": "api_call", "parameters": call}]
        client.ended_task(customer.submit(client, customer.store(client, ["Bread is baked."])), _END_SECONDS)
        deadly = customer.new_retriever(client, "deadly", stages)
        poisoned = client.post(path.format(deadly), body, prefer="respond-async")["task_id"]
        batch = stage.batches.submit(neighbour, stage.batches.store(neighbour, [f"Text {n}." for n in range(_OBJECTS)]))
        searches = []
        for _ in range(_NEIGHBOURS):
            search = client.post(path.format(customer.retriever_id), body, prefer="respond-async")
            searches.append(client.ended_task(search["task_id"], _END_SECONDS))
        ended = client.ended_task(poisoned, _END_SECONDS)
        ingested = neighbour.ended_task(batch, _END_SECONDS)
    assert (ended["status"], ended["additional_data"]["error_code"]) == ("FAILED", "attempts_exhausted")
    assert service.killed >= _MOST_ATTEMPTS
    assert [task["status"] for task in searches] == ["COMPLETED"] * _NEIGHBOURS
    assert ingested["status"] == "COMPLETED"
