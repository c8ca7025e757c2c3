"""Claims, attempts and settlements on a real database: one owner at a time, and an owner of the past writes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database

from core.clock import now
from core.storage.mongo import Document, connect_async
from core.storage.scope import NamespaceScope
from core.webhooks.delivery import Attempt, AttemptResult, DeliveryStatus
from core.webhooks.delivery_queue import ClaimedDelivery, DeliveryQueue
from tests.servers import own_database

ID = "dlv_1"
URL = "https://user:pass@example.com/hook?token=a&env=prod"
ANSWERED = Attempt(AttemptResult.DELIVERED, 200, 12.5)
Use = Callable[[Callable[[AsyncDatabase[Document]], Awaitable[None]]], None]


@pytest.fixture
def use(mongo_url: str, database: Database[Document], scope: NamespaceScope) -> Use:
    """Runs asyncio code on the test's own database, in which one delivery is due."""
    tenant = {"internal_id": scope.internal_id, "namespace_id": scope.namespace_id}
    health = {"consecutive_failures": 0, "first_failure_at": None}
    database["webhooks"].insert_one({"_id": "wh_1", **tenant, "url": URL, "is_active": True, "health": health})
    database["events"].insert_one({"_id": "evt_1", **tenant, "body": b"{}"})
    database["deliveries"].insert_one(
        {
            "_id": ID, **tenant, "webhook_id": "wh_1", "event_id": "evt_1", "event_type": "resource.executed",
            "status": "pending", "fence": 0, "attempts": 0, "tries_in_schedule": 0, "replays": 0,
            "due_at": now() - timedelta(seconds=1), "created_at": now(),
        }
    )  # fmt: skip

    def run(work: Callable[[AsyncDatabase[Document]], Awaitable[None]]) -> None:
        async def connected() -> None:
            own = connect_async(own_database(mongo_url, database.name))
            try:
                await work(own)
            finally:
                await own.client.close()

        asyncio.run(connected())

    return run


async def claimed_by(queue: DeliveryQueue) -> ClaimedDelivery:
    claimed = await queue.claim(ID)
    assert claimed is not None
    return claimed


def stored(database: Database[Document], name: str = "deliveries") -> dict[str, Any]:
    (found,) = database[name].find()
    return found


def stored_first(database: Database[Document]) -> dict[str, Any]:
    found = database["deliveries"].find_one({"_id": ID})
    assert found is not None
    return found


def results(database: Database[Document]) -> list[str]:
    return [found["result"] for found in database["attempts"].find().sort("number", 1)]


def test_of_many_claimers_one_gets_the_delivery(use: Use, database: Database[Document]) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        queues = [DeliveryQueue(own, f"owner {number}", 60) for number in range(12)]
        claims = await asyncio.gather(*(queue.claim(ID) for queue in queues))
        (won,) = [claim for claim in claims if claim]
        assert (won.fence, won.number, won.tries, won.body) == (1, 1, 1, b"{}")

    use(work)
    assert stored(database)["due_at"] > now() + timedelta(seconds=50)


def test_a_delivery_that_is_not_due_cannot_be_claimed(use: Use, database: Database[Document]) -> None:
    database["deliveries"].update_one({"_id": ID}, {"$set": {"due_at": now() + timedelta(minutes=1)}})

    async def work(own: AsyncDatabase[Document]) -> None:
        assert await DeliveryQueue(own, "owner", 60).claim(ID) is None
        assert await DeliveryQueue(own, "owner", 60).claim("dlv_none") is None

    use(work)


@pytest.mark.parametrize(
    ("name", "field"), [("events", "internal_id"), ("events", "namespace_id"), ("webhooks", "internal_id")]
)
def test_an_event_or_endpoint_of_another_tenant_is_not_sent(
    use: Use, database: Database[Document], name: str, field: str
) -> None:
    database[name].update_one({}, {"$set": {field: "another"}})

    async def work(own: AsyncDatabase[Document]) -> None:
        claimed = await claimed_by(DeliveryQueue(own, "owner", 60))
        assert (claimed.body is None, claimed.endpoint is None) == (name == "events", name == "webhooks")

    use(work)


@pytest.mark.parametrize("field", ["internal_id", "namespace_id"])
def test_attempts_and_deliveries_of_another_tenant_are_left_alone(
    use: Use, database: Database[Document], field: str
) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 0)
        claimed = await claimed_by(queue)
        await queue.start_attempt(claimed)
        for name in ("attempts", "deliveries", "webhooks"):
            database[name].update_one({}, {"$set": {field: "another"}})
        assert not await queue.complete_attempt(claimed, ANSWERED)
        assert not await queue.settle(claimed, DeliveryStatus.DELIVERED, None)
        await queue.note_health(claimed, "http_500")
        database["deliveries"].update_one({}, {"$set": {field: getattr(claimed.scope, field)}})
        await claimed_by(queue)

    use(work)
    assert results(database) == ["started"]
    failures = stored(database, "webhooks")["health"]["consecutive_failures"]
    assert failures == (1 if field == "namespace_id" else 0), "an endpoint is its organization's, not a namespace's"


@pytest.mark.parametrize("write", ["settle", "end_untried", "put_back"])
def test_an_owner_whose_lease_was_taken_over_is_refused(use: Use, database: Database[Document], write: str) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        # leases that have ended when they are given: the next claim is a take-over
        old, new = DeliveryQueue(own, "old", 0), DeliveryQueue(own, "new", 0)
        of_old = await claimed_by(old)
        await old.start_attempt(of_old)
        of_new = await claimed_by(new)
        await new.start_attempt(of_new)
        before = stored(database)
        if write == "settle":
            assert not await old.settle(of_old, DeliveryStatus.PENDING, "http_500", timedelta(seconds=1))
        elif write == "put_back":
            assert not await old.put_back(of_old, timedelta(seconds=1))
        else:
            assert not await old.end_untried(of_old, DeliveryStatus.CANCELLED, "endpoint_gone")
        assert stored(database) == before
        assert not await old.complete_attempt(of_old, ANSWERED)
        assert await new.complete_attempt(of_new, ANSWERED)
        assert await new.settle(of_new, DeliveryStatus.DELIVERED, None)

    use(work)
    assert results(database) == ["unknown", "delivered"]
    assert stored(database)["status"] == "delivered"
    assert "due_at" not in stored(database)


def test_every_attempt_that_was_left_open_becomes_unknown(use: Use, database: Database[Document]) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 0)
        await queue.start_attempt(await claimed_by(queue))
        # this one died before it could write anything
        database["deliveries"].update_one({"_id": ID}, {"$inc": {"fence": 1, "attempts": 1, "tries_in_schedule": 1}})
        claimed = await claimed_by(queue)
        assert (claimed.number, claimed.tries) == (3, 3)
        await queue.start_attempt(claimed)

    use(work)
    assert results(database) == ["unknown", "started"]


def test_an_attempt_says_when_it_was_due_and_where_it_went_and_what_was_wrong_with_the_answer(
    use: Use, database: Database[Document]
) -> None:
    due_at = stored(database)["due_at"]

    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 60)
        claimed = await claimed_by(queue)
        assert claimed.was_due_at == due_at
        await queue.start_attempt(claimed)
        await queue.complete_attempt(claimed, replace(ANSWERED, answer_fault="body_invalid"))

    use(work)
    (attempt,) = database["attempts"].find()
    assert (attempt["url"], attempt["due_at"]) == ("https://***@example.com/hook?token=***&env=prod", due_at)
    assert (attempt["result"], attempt["answer_fault"]) == ("delivered", "body_invalid")


def test_the_next_due_time_is_known_before_it_comes(use: Use, database: Database[Document]) -> None:
    moment = now().replace(microsecond=0) + timedelta(hours=1)
    for number in range(3):
        later = {**stored_first(database), "_id": f"dlv_{number + 2}", "due_at": moment + timedelta(minutes=number)}
        database["deliveries"].insert_one(later)

    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 60)
        assert await queue.next_due(now(), moment + timedelta(hours=1)) == moment
        assert await queue.next_due(moment, moment + timedelta(hours=1)) == moment + timedelta(minutes=1)
        assert await queue.next_due(now(), moment - timedelta(seconds=1)) is None

    use(work)


def test_a_retry_is_due_after_its_delay_and_says_why(use: Use, database: Database[Document]) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 60)
        assert await queue.settle(await claimed_by(queue), DeliveryStatus.PENDING, "$http", timedelta(hours=1))

    use(work)
    found = stored(database)
    assert (found["status"], found["last_error"]) == ("pending", "$http")
    assert timedelta(minutes=59) < found["due_at"] - now() < timedelta(minutes=61)


def test_a_delivery_that_was_not_tried_counts_no_attempt(use: Use, database: Database[Document]) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 60)
        assert await queue.end_untried(await claimed_by(queue), DeliveryStatus.CANCELLED, "endpoint_gone")

    use(work)
    assert (stored(database)["status"], stored(database)["attempts"]) == ("cancelled", 0)


def test_a_delivery_that_was_put_back_waits_as_if_it_had_never_been_claimed(
    use: Use, database: Database[Document]
) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 60)
        before = stored(database)
        assert await queue.put_back(await claimed_by(queue), timedelta(seconds=60))
        after = stored(database)
        for field in ("status", "attempts", "tries_in_schedule", "last_error"):
            assert after.get(field) == before.get(field)
        wait = after["due_at"] - await queue.now()
        assert timedelta(seconds=50) < wait <= timedelta(seconds=61)
        assert await queue.put_back(await claimed_at_once(queue, database), timedelta()), "it can be claimed again"
        again = await claimed_at_once(queue, database)
        assert (again.number, again.tries) == (1, 1)

    use(work)


@pytest.mark.parametrize("end", ["settle", "retry", "end_untried"])
def test_a_delivery_knows_since_when_it_waits_until_it_is_tried_or_ended(
    use: Use, database: Database[Document], end: str
) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 60)
        first = await claimed_by(queue)
        assert first.waits_since is None
        await queue.put_back(first, timedelta())
        since = stored(database)["waits_since"]
        await queue.put_back(await claimed_at_once(queue, database), timedelta())
        again = await claimed_at_once(queue, database)
        assert again.waits_since == since
        if end == "end_untried":
            await queue.end_untried(again, DeliveryStatus.FAILED, "backend_away")
        else:
            status, delay = (
                (DeliveryStatus.PENDING, timedelta(hours=1)) if end == "retry" else (DeliveryStatus.DELIVERED, None)
            )
            await queue.settle(again, status, None, delay)

    use(work)
    assert "waits_since" not in stored(database)
    assert ("due_at" in stored(database)) is (end == "retry")


async def claimed_at_once(queue: DeliveryQueue, database: Database[Document]) -> ClaimedDelivery:
    """Claimed, although it would be due later."""
    database["deliveries"].update_one({"_id": ID}, {"$set": {"due_at": datetime(2026, 1, 1, tzinfo=UTC)}})
    return await claimed_by(queue)


def test_an_endpoint_remembers_its_failures_until_it_answers_well(use: Use, database: Database[Document]) -> None:
    async def work(own: AsyncDatabase[Document]) -> None:
        queue = DeliveryQueue(own, "owner", 0)
        claimed = await claimed_by(queue)
        await queue.note_health(claimed, "http_500")
        first = stored(database, "webhooks")["health"]
        await queue.note_health(claimed, "timeout")
        health = stored(database, "webhooks")["health"]
        assert (health["consecutive_failures"], health["last_failure_cause"]) == (2, "timeout")
        assert health["first_failure_at"] == first["first_failure_at"]
        await queue.note_health(await claimed_by(queue), None)
        assert stored(database, "webhooks")["health"]["consecutive_failures"] == 0

    use(work)


def test_due_deliveries_come_oldest_first_within_their_bounds(use: Use, database: Database[Document]) -> None:
    first = stored(database)
    older = {**first, "_id": "dlv_0", "due_at": first["due_at"] - timedelta(hours=1)}
    later = {**first, "_id": "dlv_2", "due_at": first["due_at"] + timedelta(hours=1)}
    database["deliveries"].insert_many([later, older])

    async def work(own: AsyncDatabase[Document]) -> None:
        found = await DeliveryQueue(own, "owner", 60).due_between(older["due_at"], first["due_at"], 10)
        assert [(moment, due.delivery_id) for moment, due in found] == [
            (older["due_at"], "dlv_0"),
            (first["due_at"], ID),
        ]

    use(work)
