"""One scene: a batch in the middle of its work and another customer's requests, while one part is away."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from cli.demo.client import Client, RequestFailedError
from core.backends.backend import Backend
from core.jobs.job import Job, JobKind, JobState, job_from_document
from core.storage.handles import Handles
from tests.e2e.asking import Answer, Asking, slowest, statuses
from tests.e2e.customer import Customer
from tests.e2e.figures import Figures, Row
from tests.e2e.parts import away
from tests.e2e.world import World
from tests.stack import wait_until

_BEFORE_SECONDS = 1.0
"""For which all is well, with the batch under way."""
_OUTER_SECONDS = 300.0
"""After the return, until everything has ended: far more than it may take."""
_SEARCHERS = 4
_EXECUTIONS = 4
"""Asynchronous ones, begun while the part is away."""
_ENDED = {"COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED"}
_OWN = ("api", "worker", "dispatcher", "sweeper")


@dataclass
class _Promised:
    """What was acknowledged in this scene."""

    batch: str
    objects: list[str]
    executions: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """answers to those who asked for one"""


def play(world: World, row: Row, objects: int, seconds: float) -> Figures:
    """One scene of so many objects, in which the part is away for so many seconds."""
    started_at = world.services.clock.now()
    restarts = {name: world.stack.restarts(name) for name in _OWN}
    with world.batches.client(patience_seconds=60) as client:
        stored = world.batches.store(
            client, [f"Text {number} of {row.name} {started_at}." for number in range(objects)]
        )
        promised = _Promised(world.batches.submit(client, stored), stored)
    with _requests(world, row) as asked, TaskWatch(world.batches, [promised.batch]) as batch:
        wait_until(lambda: batch.processed > 0, 60, "the batch to be in the middle of its work")
        time.sleep(_BEFORE_SECONDS)
        with away(world.parts[row.backend], row.manner):
            away_at = time.monotonic()
            _begin_executions(world, row, away_at + seconds, promised)
            time.sleep(max(0.0, away_at + seconds - time.monotonic()))
        back_at = time.monotonic()
        with TaskWatch(world.searches, promised.executions) as executions:
            wait_until(lambda: batch.ended and executions.ended, _OUTER_SECONDS, "every task to end")
            wait_until(lambda: asked.search_is_well(back_at), _OUTER_SECONDS, "a search to be done again")
    _wait_until_settled(world, started_at)
    now = time.monotonic()
    records = _Records(world, promised, started_at)
    searches, health = asked.search.between(away_at, back_at), asked.health.between(away_at, back_at)
    uploads, others = asked.upload.between(away_at, back_at), asked.other.between(away_at, back_at)
    first = searches[0] if searches else None
    return Figures(
        backend=row.backend.value,
        manner=row.manner.value,
        away_seconds=round(back_at - away_at, 1),
        search_first=round(first.seconds, 2) if first else None,
        search_first_status=first.status if first else 0,
        search_slowest=slowest(searches),
        searches=statuses(searches),
        upload_slowest=slowest(uploads),
        uploads=statuses(uploads),
        health_slowest=slowest(health),
        other_slowest=slowest(others),
        others=statuses(others),
        search_well_after=asked.search_well_after(back_at),
        batch_ended_after=round(batch.ended_at(promised.batch) - back_at, 1),
        all_ended_after=round(max([batch.last_end, executions.last_end, back_at]) - back_at, 1),
        attempts_beyond_the_first=records.attempts_beyond_the_first,
        waiting_for=tuple(sorted(batch.waited_for | executions.waited_for)),
        not_completed=records.not_completed,
        lost=records.lost,
        doubled=records.doubled,
        expected=len(stored),
        found=records.found,
        left_behind=records.left_behind(asked.search.between(0, now)),
        holds_open=_held(world),
        restarts={name: new for name in _OWN if (new := world.stack.restarts(name) - restarts[name])},
        wrong=(*promised.wrong, *asked.wrong()),
    )


@dataclass(frozen=True)
class _Requests:
    search: Asking
    other: Asking
    upload: Asking
    health: Asking

    def search_is_well(self, since: float) -> bool:
        return self.search_well_after(since) is not None

    def search_well_after(self, since: float) -> float | None:
        ends = [each.asked_at + each.seconds for each in list(self.search.answers) if each.status == 200]
        return next((round(end - since, 1) for end in ends if end >= since), None)

    def wrong(self) -> tuple[str, ...]:
        every = {"search": self.search, "other": self.other, "upload": self.upload, "health": self.health}
        return tuple(
            f"{name}: {answer.status} after {answer.seconds:.1f} s, Retry-After {answer.retry_after}: {answer.said}"
            for name, asking in every.items()
            for answer in asking.answers
            if not answer.is_right
        )


@contextmanager
def _requests(world: World, row: Row) -> Iterator[_Requests]:
    """A stream of searches by another customer, and of requests of other kinds."""
    customer, keyed = world.searches, row.backend is Backend.KEY_SERVICE
    retriever = world.keyed_retriever_id if keyed else customer.retriever_id
    search = {"inputs": {"query": "what is it about?"}, "limit": 3}
    upload = {"blobs": [{"property": "text", "type": "text", "data": "An upload."}]}
    with ExitStack() as entered:
        yield _Requests(
            entered.enter_context(
                Asking(customer, "POST", f"/v1/retrievers/{retriever}/execute", search, callers=_SEARCHERS)
            ),
            entered.enter_context(Asking(customer, "GET", f"/v1/buckets/{customer.bucket_id}")),
            entered.enter_context(Asking(customer, "POST", f"/v1/buckets/{customer.bucket_id}/objects", upload, 1.0)),
            entered.enter_context(Asking(customer, "GET", "/v1/health", pause=0.5)),
        )


def _begin_executions(world: World, row: Row, until: float, promised: _Promised) -> None:
    """Ask for executions that nobody waits for; those that were accepted are promised."""
    keyed = row.backend is Backend.KEY_SERVICE
    path = f"/v1/retrievers/{world.keyed_retriever_id if keyed else world.searches.retriever_id}/execute"
    with world.searches.client() as client:
        for number in range(_EXECUTIONS):
            body = {"inputs": {"query": f"question {number}"}, "limit": 3}
            try:
                promised.executions.append(client.post(path, body, prefer="respond-async")["task_id"])
            except RequestFailedError as error:
                if error.status != httpx.codes.SERVICE_UNAVAILABLE:
                    promised.wrong.append(f"execution: {error}")
            except httpx.TransportError as error:
                promised.wrong.append(f"execution: no answer, {type(error).__name__}")
            if time.monotonic() > until:
                break


class TaskWatch:
    """Looks at tasks as their customer sees them, until all have ended."""

    def __init__(self, customer: Customer, task_ids: list[str]) -> None:
        self._customer = customer
        self._ends: dict[str, float | None] = dict.fromkeys(task_ids)
        self.processed = 0
        self.waited_for: set[str] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look_until_ended, name="task watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def ended(self) -> bool:
        """Whether all have."""
        return None not in self._ends.values()

    @property
    def last_end(self) -> float:
        """When the last of them ended; 0 without any."""
        return max((end for end in self._ends.values() if end is not None), default=0.0)

    def ended_at(self, task_id: str) -> float:
        """When this one did."""
        end = self._ends[task_id]
        assert end is not None
        return end

    def _look_until_ended(self) -> None:
        with self._customer.client() as client:
            while not self._done.is_set() and not self.ended:
                for task_id in [task_id for task_id, end in self._ends.items() if end is None]:
                    self._look(client, task_id)
                self._done.wait(0.2)

    def _look(self, client: Client, task_id: str) -> None:
        try:
            task = client.get(f"/v1/tasks/{task_id}")
        except (RequestFailedError, httpx.TransportError):
            # with MongoDB away nobody knows; others are looked for by the stream of requests
            return
        facts: dict[str, Any] = task["additional_data"]
        self.processed = max(self.processed, int(facts["progress"].get("processed", 0)))
        if waits := facts.get("waiting_for"):
            self.waited_for.add(waits)
        if task["status"] in _ENDED:
            self._ends[task_id] = time.monotonic()


class _Records:
    """What the records say of a scene."""

    def __init__(self, world: World, promised: _Promised, since: Any) -> None:
        handles, self._promised = world.services.handles, promised
        self._of_batches = _jobs_since(handles, world.batches.scope(world.services), since)
        self._of_searches = _jobs_since(handles, world.searches.scope(world.services), since)
        documents = world.batches.documents(world.services)
        self._documents = {each: documents[each] for each in promised.objects}
        self._double_captures = sum(each.ledger(world.services)[0] for each in (world.batches, world.searches))

    @property
    def _jobs(self) -> list[Job]:
        return self._of_batches + self._of_searches

    @property
    def lost(self) -> int:
        """Acknowledged tasks that are unknown, and jobs that did not end."""
        known = {job.job_id for job in self._jobs}
        unknown = {self._promised.batch, *self._promised.executions} - known
        return len(unknown) + sum(not job.is_final for job in self._jobs)

    @property
    def not_completed(self) -> int:
        """Jobs that ended otherwise than done."""
        return sum(job.is_final and job.state is not JobState.SUCCEEDED for job in self._jobs)

    @property
    def doubled(self) -> int:
        """Documents beyond the one of each object, and captures beyond the one of each job."""
        return sum(max(0, count - 1) for count in self._documents.values()) + self._double_captures

    @property
    def found(self) -> int:
        """Objects with a document."""
        return sum(count > 0 for count in self._documents.values())

    @property
    def attempts_beyond_the_first(self) -> int:
        """Of all jobs of the scene."""
        return sum(max(0, job.attempts - 1) for job in self._jobs)

    def left_behind(self, searches: list[Answer]) -> int:
        """Executions that are recorded although no caller was told so."""
        told = sum(answer.status in (200, 202) for answer in searches) + len(self._promised.executions)
        return sum(job.kind is JobKind.RETRIEVER for job in self._of_searches) - told


def _held(world: World) -> int:
    return sum(customer.ledger(world.services)[2] for customer in (world.batches, world.searches))


def _jobs_since(handles: Handles, scope: Any, since: Any) -> list[Job]:
    return [
        job_from_document(found) for found in handles.namespace(scope)["jobs"].find({"created_at": {"$gte": since}})
    ]


def _wait_until_settled(world: World, since: Any) -> None:
    """Until no job of the scene owes anything, and no hold is left of a job that MongoDB did not live to record: the
    sweeper releases these after a minute."""

    def settled() -> bool:
        jobs = [
            job
            for customer in (world.batches, world.searches)
            for job in _jobs_since(world.services.handles, customer.scope(world.services), since)
        ]
        return all(job.is_final and job.due_at is None for job in jobs) and not _held(world)

    wait_until(settled, _OUTER_SECONDS, "every job to owe nothing")
