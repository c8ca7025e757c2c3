"""A real API process whose Redis and MongoDB are frozen: each answer comes in time, and nothing is left behind."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.backends.backend import Backend
from core.ids import Prefix, random_id
from core.jobs.job import Decision, JobState
from core.jobs.waiting import tell_waiting
from tests.api_process import Account, Site, site
from tests.servers import Server, free_port, mongo_server, redis_server
from tests.stack import wait_until

PATIENCE = 30.0
"""Of a caller. It is ten times the three seconds that are promised while MongoDB is away, so that it tells an answer
from a hang and no more. The figures are printed; `tests/unit/storage/test_pulse.py` holds what they are made of."""
HEALTH_PATIENCE = 20.0
"""Ten times the two seconds that are promised."""
REDIS_PATIENCE = 5.0
"""Ten times the half second that is promised."""


def a_name() -> str:
    """One that nobody has."""
    return f"n-{random_id(Prefix.REQUEST)[4:]}"


@dataclass
class World:
    """The API process, its backends, and a tenant."""

    site: Site
    account: Account
    mongo: Server
    redis: Server
    client: httpx.Client

    def call(
        self, method: str, path: str, body: Any = None, patience: float = PATIENCE, **headers: str
    ) -> tuple[httpx.Response, float]:
        """The answer, and the seconds that it took, to be printed. Raises httpx.TimeoutException when none comes."""
        sent = {**self.account.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        started = time.monotonic()
        answer = self.client.request(method, self.site.url + path, json=body, headers=sent, timeout=patience)
        return answer, time.monotonic() - started

    def created(self, path: str, body: Any) -> dict[str, Any]:
        """What was made."""
        answer, _ = self.call("POST", path, body)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def retriever(self, *stages: Mapping[str, Any]) -> str:
        """A new one with these stages."""
        body = {"retriever_name": a_name(), "stages": list(stages), "collection_identifiers": []}
        return str(self.created("/v1/retrievers", body)["retriever"]["retriever_id"])

    def held(self) -> tuple[int, int]:
        """Credits that are posted and held."""
        balance = self.site.services.ledger.balance(self.account.scope)
        return balance.posted, balance.held


FIND = {
    "stage_name": "find",
    "stage_type": "filter",
    "stage_id": "attribute_filter",
    "parameters": {"field": "a", "operator": "eq", "value": 1},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    mongo_port, redis_port = free_port(), free_port()
    with (
        mongo_server(tmp_path_factory.mktemp("mongo"), mongo_port) as mongo,
        redis_server(tmp_path_factory.mktemp("redis"), redis_port) as redis,
        site(mongo.url, redis.url, tmp_path_factory.mktemp("data"), sync_wait_seconds=8) as place,
        httpx.Client(timeout=PATIENCE) as client,
    ):
        yield World(place, place.account(), mongo, redis, client)


@contextmanager
def frozen(*servers: Server) -> Iterator[None]:
    """They take what is sent to them and say nothing."""
    for server in servers:
        os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for server in servers:
            os.kill(server.process.pid, signal.SIGCONT)


def all_is_well(world: World) -> bool:
    answer = world.client.get(f"{world.site.url}/v1/health").json()
    away = set(answer["errors"]) - {"vector_store", "inference"}
    return not away and world.call("GET", "/v1/buckets")[0].status_code == 200


@pytest.fixture(autouse=True)
def back(world: World) -> Iterator[None]:
    yield
    wait_until(lambda: all_is_well(world), PATIENCE, "all to be back")


def refused(answer: httpx.Response, backend: Backend) -> bool:
    error = answer.json().get("error", {})
    return (answer.status_code, error.get("details", {}).get("backend")) == (503, backend.value) and (
        int(answer.headers["Retry-After"]) >= 1
    )


# MongoDB ------------------------------------------------------------------------------------------------


def many_requests(world: World) -> list[Callable[[], tuple[httpx.Response, float]]]:
    """Reads, writes, a transaction, a job, and one with an Idempotency-Key."""
    bucket = world.created("/v1/buckets", {"bucket_name": a_name(), "bucket_schema": {"properties": {}}})["bucket_id"]
    retriever = world.retriever(FIND)
    named, once = {"bucket_name": a_name(), "bucket_schema": {"properties": {}}}, random_id(Prefix.OPERATION)
    thing = {"blobs": [{"property": "t", "type": "text", "data": "text"}]}
    secret = {"secret_name": "a_key", "secret_value": "a-long-value"}
    calls: list[tuple[str, str, Any, dict[str, str]]] = [
        ("GET", "/v1/buckets", None, {}),
        ("POST", "/v1/buckets", named, {"Idempotency_Key": once}),
        ("POST", f"/v1/buckets/{bucket}/objects", thing, {}),
        ("POST", f"/v1/retrievers/{retriever}/execute", {"inputs": {}}, {}),
        ("POST", "/v1/organizations/secrets", secret, {}),
        ("GET", "/v1/health/deep", None, {}),
        ("GET", "/v1/tasks/task_unknown", None, {}),
    ]

    def one(call: tuple[str, str, Any, dict[str, str]]) -> Callable[[], tuple[httpx.Response, float]]:
        method, path, body, headers = call
        return lambda: world.call(method, path, body, PATIENCE, **headers)

    return [one(call) for call in calls]


def test_with_a_frozen_mongodb_every_request_is_answered_in_time(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = many_requests(world)
    with frozen(world.mongo), ThreadPoolExecutor(len(calls)) as threads:
        answers = list(threads.map(lambda call: call(), calls))
        # known to be away by now
        at_once = [call() for call in calls]
    with capsys.disabled():
        print("\nseconds to 503, MongoDB just frozen:", [round(took, 2) for _, took in answers])
        print("seconds to 503, MongoDB known to be away:", [round(took, 2) for _, took in at_once])
    assert all(refused(answer, Backend.MONGO) for answer, _ in answers), [answer.text for answer, _ in answers]
    assert all(refused(answer, Backend.MONGO) for answer, _ in at_once)


def test_requests_that_are_under_way_when_mongodb_freezes_end_in_time(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a stream of requests every one is answered, whatever step it was at."""
    calls, slowest, stop = many_requests(world), [], threading.Event()

    def stream(call: Callable[[], tuple[httpx.Response, float]]) -> None:
        while not stop.is_set():
            answer, took = call()
            slowest.append((took, answer.status_code))

    with ThreadPoolExecutor(len(calls)) as threads:
        ends = [threads.submit(stream, call) for call in calls if call is not calls[3]]
        time.sleep(1)
        slowest.clear()
        with frozen(world.mongo):
            # long enough for each to have met it at some step
            time.sleep(3)
            stop.set()
            for end in ends:
                end.result()
    assert {status for _, status in slowest} <= {200, 403, 404, 409, 429, 503}
    with capsys.disabled():
        print(f"\nslowest of {len(slowest)} answers, MongoDB frozen under them: {max(slowest)[0]:.2f} s")


@pytest.mark.parametrize("key", [{}, {"Idempotency_Key": "once"}], ids=["without a key", "with a key"])
def test_an_execution_that_was_taken_before_mongodb_froze_is_answered_with_its_task(
    world: World, key: dict[str, str]
) -> None:
    path = f"/v1/retrievers/{world.retriever(FIND)}/execute"
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(lambda: world.call("POST", path, {"inputs": {}}, PATIENCE, **key))
        wait_until(lambda: bool(world.site.services.queue.due(10)), PATIENCE, "it to be taken")
        with frozen(world.mongo):
            answer, _ = asked.result()
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING"), answer.text
    wait_until(lambda: all_is_well(world), PATIENCE, "all to be back")
    with ended_by_a_worker(world):
        task = f"/v1/tasks/{answer.json()['task_id']}"
        wait_until(lambda: world.call("GET", task)[0].json()["status"] == "COMPLETED", PATIENCE, "it to have gone on")


def test_what_was_refused_while_mongodb_was_away_can_be_sent_again(world: World) -> None:
    named = {"bucket_name": a_name(), "bucket_schema": {"properties": {}}}
    key = random_id(Prefix.OPERATION)
    with frozen(world.mongo):
        assert refused(world.call("POST", "/v1/buckets", named, Idempotency_Key=key)[0], Backend.MONGO)
    answers: list[httpx.Response] = []

    def done() -> bool:
        answers.append(world.call("POST", "/v1/buckets", named, Idempotency_Key=key)[0])
        return answers[-1].status_code not in (409, 503)

    wait_until(done, PATIENCE, "the same request to be taken")
    assert answers[-1].status_code == 200
    again, _ = world.call("POST", "/v1/buckets", named, Idempotency_Key=key)
    assert again.json()["bucket_id"] == answers[-1].json()["bucket_id"]


def test_a_killed_mongodb_is_refused_at_once_and_found_again(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port, data = free_port(), tmp_path / "mongo"
    data.mkdir()
    with ExitStack() as stack, httpx.Client(timeout=PATIENCE) as client:
        mongo = stack.enter_context(mongo_server(data, port))
        place = stack.enter_context(site(mongo.url, redis_url, tmp_path))
        world = World(place, place.account(), mongo, mongo, client)
        calls = many_requests(world)
        mongo.process.kill()
        mongo.process.wait()
        with ThreadPoolExecutor(len(calls)) as threads:
            answers = list(threads.map(lambda call: call(), calls))
        at_once = [call() for call in calls]
        with capsys.disabled():
            print("\nseconds to 503, MongoDB just killed:", [round(took, 2) for _, took in answers])
        assert all(refused(answer, Backend.MONGO) for answer, _ in [*answers, *at_once])
        stack.enter_context(mongo_server(data, port))
        wait_until(lambda: all_is_well(world), PATIENCE, "all to be back")
        assert calls[1]()[0].status_code == 200


# Redis --------------------------------------------------------------------------------------------------


def test_a_silent_redis_costs_half_a_second_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with frozen(world.redis):
        took = []
        for _ in range(8):
            answer, seconds = world.call("GET", "/v1/buckets", patience=REDIS_PATIENCE)
            assert answer.status_code == 200
            took.append(seconds)
        named = {"bucket_name": a_name(), "bucket_schema": {"properties": {}}}
        renamed = {"organization_name": "Renamed"}
        answer, seconds = world.call("PATCH", "/v1/organizations", renamed, patience=REDIS_PATIENCE)
        took.append(seconds)
        answer, seconds = world.call("POST", "/v1/buckets", named, patience=REDIS_PATIENCE)
        assert answer.status_code == 200
        took.append(seconds)
    with capsys.disabled():
        print("\nseconds with a silent Redis:", [round(seconds, 2) for seconds in took])


@contextmanager
def ended_by_a_worker(world: World, delay: float = 0.0) -> Iterator[None]:
    """Somebody claims what is due and ends it, `delay` after it was submitted."""
    services, stop = world.site.services, threading.Event()

    def drive() -> None:
        while not stop.wait(0.02):
            for due in services.queue.due(10):
                time.sleep(delay)
                if lease := services.queue.claim(due.job_id, random_id(Prefix.REQUEST)):
                    lease.decide(Decision(JobState.SUCCEEDED))
                    lease.finish(Decision(JobState.SUCCEEDED), ())

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("when", ["before it is submitted", "while it is waited for"])
def test_an_execution_needs_no_redis(world: World, when: str) -> None:
    path = f"/v1/retrievers/{world.retriever(FIND)}/execute"
    if when == "before it is submitted":
        with frozen(world.redis), ended_by_a_worker(world):
            answer, _ = world.call("POST", path, {"inputs": {}})
    else:
        with ended_by_a_worker(world, 2.0), ThreadPoolExecutor(1) as threads:
            asked = threads.submit(world.call, "POST", path, {"inputs": {}})
            time.sleep(0.7)
            with frozen(world.redis):
                answer, _ = asked.result()
    # one that was not heard of in time is a 202
    assert (answer.status_code, answer.json()["status"]) == (200, "completed"), answer.text


# All of them --------------------------------------------------------------------------------------------


def test_health_answers_in_time_with_everything_frozen(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    wait_until(lambda: all_is_well(world), PATIENCE, "all to be there")
    paths = ["/v1/health", "/v1/health/deep", "/v1/health/readiness", "/v1/health/liveness", "/v1/health/beat"]
    with frozen(world.mongo, world.redis):
        for moment in ("just frozen", "known to be away"):
            with ThreadPoolExecutor(8) as threads:
                answers = dict(
                    zip(
                        [*paths, "/metrics"],
                        threads.map(
                            lambda path: world.call("GET", path, patience=HEALTH_PATIENCE), [*paths, "/metrics"]
                        ),
                        strict=True,
                    )
                )
            with capsys.disabled():
                print(f"\n{moment}:", {path: round(took, 2) for path, (_, took) in answers.items()})
            health = answers["/v1/health"][0].json()
            assert health["status"] == "DEGRADED"
            assert {"metadata", "cache", "task_queue"} <= set(health["errors"])
            assert health["data"]["object_storage"] is True
            assert answers["/v1/health/readiness"][0].status_code == 503
            assert answers["/v1/health/liveness"][0].status_code == 200
            assert answers["/v1/health/beat"][0].status_code == 503
            assert answers["/v1/health/deep"][0].status_code == 503
            assert answers["/metrics"][0].status_code == 200


# What a worker finds away --------------------------------------------------------------------------------


@contextmanager
def handed_back_by_a_worker(world: World, backend: Backend) -> Iterator[list[str]]:
    """Somebody claims what is due, finds a backend away, and says so."""
    services, stop, met = world.site.services, threading.Event(), []

    def drive() -> None:
        while not stop.wait(0.02):
            for due in services.queue.due(10):
                if lease := services.queue.claim(due.job_id, random_id(Prefix.REQUEST)):
                    lease.wait_for(backend, timedelta(seconds=2))
                    met.append(due.job_id)
                    tell_waiting(services.redis, due.namespace_id, due.job_id)

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield met
    finally:
        stop.set()
        thread.join()


def test_an_execution_that_finds_a_backend_away_leaves_nothing_behind(world: World) -> None:
    path, key = f"/v1/retrievers/{world.retriever(FIND)}/execute", random_id(Prefix.OPERATION)
    before = world.held()
    services, scope = world.site.services, world.account.scope
    with handed_back_by_a_worker(world, Backend.VECTORS) as met:
        for _ in range(2):
            answer, _ = world.call("POST", path, {"inputs": {}}, Idempotency_Key=key)
            # one that was waited for to the end is a 202
            assert refused(answer, Backend.VECTORS), answer.text
    assert len(met) == 2
    assert world.held() == before
    assert all(services.jobs.find(scope, job_id) is None for job_id in met)
    assert world.call("GET", f"/v1/tasks/{met[0]}")[0].status_code == 404
    assert services.handles.namespace(scope)["events"].count({}) == 0
    with ended_by_a_worker(world):
        done, _ = world.call("POST", path, {"inputs": {}}, Idempotency_Key=key)
        again, _ = world.call("POST", path, {"inputs": {}}, Idempotency_Key=key)
    assert (done.status_code, done.json()["status"]) == (200, "completed"), done.text
    assert again.json() == done.json()


def test_what_the_workers_find_away_is_refused_at_once(world: World) -> None:
    services, retriever = world.site.services, world.retriever(FIND)
    path, before = f"/v1/retrievers/{retriever}/execute", world.held()
    jobs = services.jobs.count(world.account.scope)

    def beat(*away: Backend) -> None:
        services.heartbeats.beat("worker:test:1", "worker", {"away": [*away]})

    def says(errors: set[str]) -> bool:
        return errors <= set(world.client.get(f"{world.site.url}/v1/health").json()["errors"])

    beat(Backend.VECTORS, Backend.RAY)
    wait_until(lambda: says({"compute", "vector_store"}), PATIENCE, "the word of the workers")
    beat(Backend.VECTORS)
    wait_until(lambda: not says({"compute"}), PATIENCE, "Ray to be back")
    answer, _ = world.call("POST", path, {"inputs": {}})
    # nobody works here: one that was not refused at once is a 202
    assert refused(answer, Backend.VECTORS), answer.text
    assert (world.held(), services.jobs.count(world.account.scope)) == (before, jobs)
    # asked for asynchronously it is taken
    accepted, _ = world.call("POST", path, {"inputs": {}}, Prefer="respond-async")
    assert accepted.status_code == 202
    services.submission.cancel(world.account.scope, accepted.json()["task_id"])
    # what needs no vectors is answered as ever
    for elsewhere in ("/v1/buckets", "/v1/retrievers", "/v1/collections", "/v1/health", "/v1/tasks/list"):
        method = "POST" if elsewhere.endswith("list") else "GET"
        assert world.call(method, elsewhere, {} if method == "POST" else None)[0].status_code == 200
    services.heartbeats.leave("worker:test:1")
