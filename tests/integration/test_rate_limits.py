"""Limits over real HTTP: what a plan lets through to the request, what every answer says of it, what goes on without
Redis, and what a request costs on both wires.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import aiohttp
import httpx
import pytest
from redis import Redis

from api.app import build_app
from config.plans import published_plans
from core.bootstrap import build_services
from core.jobs.job import Decision, JobState
from core.jobs.waiting import tell_waiting
from core.storage import mongo
from core.tenancy.permissions import Permission
from tests.api_process import Account, Site, site
from tests.claiming import claimed
from tests.integration.bodies import collection_body, retriever_body
from tests.mongo_commands import MongoCommands
from tests.redis_calls import calls_of
from tests.servers import free_port, redis_server
from tests.stack import wait_until
from tests.tenants import new_key

REQUESTS = 500
OLD = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Window"}
NEW = {"RateLimit", "RateLimit-Policy"}


@pytest.fixture(scope="module")
def house(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One API process, whose executions wait long enough to be met."""
    with site(mongo_url, redis_url, Path(tmp_path_factory.mktemp("limits")), sync_wait_seconds=20) as one:
        yield one


def _redis_seconds(redis: Redis) -> float:
    seconds, microseconds = redis.time()
    return float(seconds) + float(microseconds) / 1_000_000


async def _burst(url: str, headers: dict[str, str], count: int) -> list[httpx.Response]:
    """Requests on a connection each, all at once. Not by httpx, which looks through all connections for each."""
    connector = aiohttp.TCPConnector(limit=count)

    async def ask(session: aiohttp.ClientSession) -> httpx.Response:
        async with session.get(f"{url}/v1/me") as answer:
            return httpx.Response(answer.status, headers=list(answer.headers.items()), content=await answer.read())

    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        return list(await asyncio.gather(*(ask(session) for _ in range(count))))


def test_of_many_simultaneous_requests_exactly_what_the_plan_allows_is_admitted(
    house: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    account, plan = house.account("free"), house.services.settings.plans["free"]
    before = _redis_seconds(house.services.redis)
    answers = asyncio.run(_burst(house.url, account.headers, REQUESTS))
    elapsed = _redis_seconds(house.services.redis) - before
    admitted = sum(answer.status_code == 200 for answer in answers)
    rate = plan.requests_per_minute / 60
    with capsys.disabled():
        print(f"\n{REQUESTS} simultaneous requests on the free plan: {admitted} admitted in {elapsed:.2f} s")
    assert {answer.status_code for answer in answers} == {200, 429}
    assert plan.burst <= admitted <= plan.burst + rate * elapsed + 1
    assert all(set(_known(answer)) >= (OLD | NEW) for answer in answers)
    refused = [answer for answer in answers if answer.status_code == 429]
    for answer in refused:
        details = answer.json()["error"]["details"]
        wait = int(answer.headers["Retry-After"])
        assert wait >= 1
        assert (details["retry_after"], details["retry_after_seconds"], details["retryable"]) == (wait, wait, True)
        assert {"limit", "window", "policy"} <= details.keys()
        assert answer.headers["X-RateLimit-Remaining"] == "0"


def _known(answer: httpx.Response) -> set[str]:
    return {name for name in OLD | NEW if name in answer.headers}


def test_a_route_that_the_plan_limits_is_refused_by_that_limits_name_wherever_it_is_found(house: Site) -> None:
    plans = {"free": published_plans()["free"].model_copy(update={"routes": {"buckets.list": 2}})}
    settings = house.services.settings.model_copy(update={"plans": published_plans() | plans})
    with closing(build_services(settings)) as services:
        client, headers = build_app(services).test_client(), house.account("free").headers
        answers = [client.post("/v1/buckets/list", json={}, headers=headers) for _ in range(2)]
        refused = client.get("/v1/buckets", headers=headers)
        assert [answer.status_code for answer in (*answers, refused)] == [200, 200, 429]
        details = refused.get_json()["error"]["details"]
        assert (details["policy"], details["limit"], details["window"]) == ("route-buckets.list", 2, "1m")
        assert client.get("/v1/collections", headers=headers).status_code == 200


def test_more_keys_of_one_organization_do_not_mean_more_of_everything(house: Site) -> None:
    account, plan = house.account("free"), house.services.settings.plans["free"]
    keys = [new_key(house.services, account.scope, Permission.READ).text for _ in range(5)]

    async def all_at_once() -> list[httpx.Response]:
        bursts = (_burst(house.url, {"Authorization": f"Bearer {key}"}, 20) for key in keys)
        return [answer for burst in await asyncio.gather(*bursts) for answer in burst]

    before = _redis_seconds(house.services.redis)
    admitted = sum(answer.status_code == 200 for answer in asyncio.run(all_at_once()))
    elapsed = _redis_seconds(house.services.redis) - before
    assert plan.burst <= admitted <= plan.burst + plan.metadata / 60 * elapsed + 1


def test_every_answer_to_somebody_known_says_where_they_stand(house: Site) -> None:
    account = house.account()
    reader = new_key(house.services, account.scope, Permission.READ).text
    with httpx.Client(base_url=house.url, headers=account.headers) as client:
        answers = {
            200: client.get("/v1/me"),
            400: client.get("/v1/buckets", headers={"X-Namespace": ""}),
            403: client.post("/v1/buckets", json={}, headers={"Authorization": f"Bearer {reader}"}),
            404: client.get("/v1/buckets/none"),
            415: client.post("/v1/buckets", content=b"x"),
            422: client.post("/v1/buckets", json={}),
        }
        unknown = client.get("/v1/me", headers={"Authorization": "Bearer nonsense"})
        nowhere = client.get("/v1/me", headers={"X-Namespace": "nowhere"})
    for status, answer in [*answers.items(), (404, nowhere)]:
        assert (answer.status_code, _known(answer)) == (status, OLD | NEW)
        assert answer.headers["RateLimit"].startswith('"')
    assert (unknown.status_code, _known(unknown)) == (401, set())


def test_what_is_refused_counts_like_what_is_allowed(house: Site) -> None:
    account = house.account("free")
    reader = new_key(house.services, account.scope, Permission.READ).text
    with httpx.Client(base_url=house.url, headers={**account.headers, "Authorization": f"Bearer {reader}"}) as client:
        statuses = [client.post("/v1/buckets", json={}).status_code for _ in range(40)]
        bound = new_key(house.services, account.scope, Permission.READ, allowed_origins=("https://a.example.com",))
        strange = {"Authorization": f"Bearer {bound.text}", "Origin": "https://b.example.com"}
        of_an_origin = [client.get("/v1/buckets", headers=strange).status_code for _ in range(40)]
    assert set(statuses) == {403, 429}
    assert 429 in of_an_origin


def test_retry_after_is_true(house: Site) -> None:
    """When it has passed the same request is admitted: waited for by Redis' own clock."""
    account = house.account("free")
    answers = asyncio.run(_burst(house.url, account.headers, 30))
    wait = max(int(answer.headers["Retry-After"]) for answer in answers if answer.status_code == 429)
    redis = house.services.redis
    until = _redis_seconds(redis) + wait
    while (left := until - _redis_seconds(redis)) > 0:
        # an empty list that nobody fills: Redis itself says when the time is over
        redis.blpop(["ks:test:nothing"], timeout=min(left, 0.3))
    assert httpx.get(f"{house.url}/v1/me", headers=account.headers).status_code == 200


def test_an_organization_has_only_so_many_executions_under_way(house: Site) -> None:
    account, plan = house.account("free"), house.services.settings.plans["free"]
    with httpx.Client(base_url=house.url, headers=account.headers, timeout=60) as client:
        path = _retriever(client)
        with ThreadPoolExecutor(plan.concurrent) as pool:
            for _ in range(plan.concurrent):
                pool.submit(client.post, path, json={"inputs": {"query": "?"}})
            jobs = _await_jobs(house, account, plan.concurrent)
            refused = client.post(path, json={"inputs": {"query": "?"}})
            assert refused.status_code == 429
            assert refused.json()["error"]["details"]["policy"] == "organization-concurrency"
            assert 'qu="concurrent-requests"' in refused.headers["RateLimit-Policy"]
            # what does not wait for anything goes on
            assert client.get("/v1/me").status_code == 200
            _end(house, account, jobs)
        # the places are free again as soon as the answers are out
        accepted = client.post(path, json={"inputs": {"query": "?"}}, headers={"Prefer": "respond-async"})
        assert accepted.status_code == 202


def _retriever(client: httpx.Client) -> str:
    answer = client.post("/v1/retrievers", json=retriever_body())
    assert answer.status_code == 200, answer.text
    return f"/v1/retrievers/{answer.json()['retriever_id']}/execute"


def _await_jobs(house: Site, account: Account, count: int) -> list[str]:
    """The ids of the executions under way, once there are so many."""
    jobs = house.services.jobs
    wait_until(lambda: len(jobs.list(account.scope)) == count, 30, "the executions to begin")
    return [job.job_id for job in jobs.list(account.scope)]


def _end(house: Site, account: Account, job_ids: list[str]) -> None:
    """Cancel them, as a worker would, so that whoever waits is answered."""
    for job_id in job_ids:
        lease = claimed(house.services.queue, job_id, job_id)
        assert lease is not None
        decision = Decision(JobState.CANCELLED)
        lease.decide(decision)
        lease.finish(decision, ())
        tell_waiting(house.services.redis, account.namespace_id, job_id)


# Without Redis ----------------------------------------------------------------------------------------


def test_without_redis_reads_go_on_and_what_must_be_counted_is_refused(mongo_url: str, tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port) as redis, site(mongo_url, redis.url, tmp_path) as house:
        account = house.account()
        with httpx.Client(base_url=house.url, headers=account.headers, timeout=60) as client:
            path = _batch(client)
            assert client.get("/v1/buckets").status_code == 200
            redis.process.kill()
            redis.process.wait()
            for _ in range(20):
                answer = client.get("/v1/buckets")
                assert (answer.status_code, _known(answer)) == (200, OLD | NEW)
            submitted = client.post(path)
            assert (submitted.status_code, submitted.headers["Retry-After"]) == (503, "5")
            assert submitted.json()["error"]["type"] == "ServiceUnavailableError"
            wrong = client.get("/v1/me", headers={"Authorization": f"Bearer {account.key[:-1]}!"})
            assert (wrong.status_code, wrong.headers["Retry-After"]) == (503, "5")
            with redis_server(tmp_path, port):
                # a process tries Redis again after a second
                wait_until(lambda: client.post(path).status_code == 200, 30, "the batch to be submitted")
                assert client.get("/v1/me", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def _batch(client: httpx.Client) -> str:
    bucket = client.post("/v1/buckets", json={"bucket_name": "b", "bucket_schema": {}}).json()["bucket_id"]
    assert client.post("/v1/collections", json=collection_body(bucket)).status_code == 200
    made = client.post(f"/v1/buckets/{bucket}/objects", json={}).json()["object_id"]
    batch = client.post(f"/v1/buckets/{bucket}/batches", json={"object_ids": [made]}).json()["batch_id"]
    return f"/v1/buckets/{bucket}/batches/{batch}/submit"


# What it costs ----------------------------------------------------------------------------------------


def test_a_warm_request_that_does_nothing_costs_one_read_and_three_redis_calls(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = MongoCommands()
    with redis_server(tmp_path) as redis, site(mongo_url, redis.url, tmp_path, 0) as house:
        account = house.account()
        monkeypatch.setitem(mongo._OPTIONS, "event_listeners", [commands])
        counted = build_services(house.services.settings)
        client = build_app(counted).test_client()

        def ask(headers: dict[str, str]) -> None:
            assert client.get("/v1/me", headers=headers).status_code == 200

        for headers in ({"Authorization": f"Bearer {account.key}"}, account.headers):
            for _ in range(2):
                ask(headers)
            commands.sent.clear()
            with Redis.from_url(redis.url) as watched:
                calls = calls_of(watched, partial(ask, headers))
            with capsys.disabled():
                print(f"\nGET /v1/me, {sorted(headers)}: MongoDB {commands.sent}, Redis {calls}")
            assert len(commands.sent) <= 1
            assert 1 <= len(calls) <= 3
        counted.close()
