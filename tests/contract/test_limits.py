"""The limiter on a real Redis: exact under simultaneous callers, all or nothing, true waits, one call."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis

from config.plans import published_plans
from core.ids import Prefix, random_id
from core.limits.decision import LONGEST_LEASE_SECONDS, Ask, Decision, LeaseAsk
from core.limits.limiter import Limiter
from core.limits.policy import Admitted, Policy, RateClass, Refused
from core.limits.redis_rates import RedisRates
from core.limits.subject import Subject
from core.storage.redis import connect_redis, key_rate_key, lease_key, organization_rate_key
from tests.redis_calls import calls_of

CALLERS = 500
MOMENT_US = 2_000_000
"""Waits that are sat out in a test are shorter."""
WIDE = published_plans()["enterprise"]
SLOW = {"requests_per_minute": 60, "requests_per_second": 1, "organization_requests_per_second": 1, "burst": 9}
"""Limits whose counts outlive a test; those of `WIDE` are gone within a millisecond."""
FREELY = [Ask("ks:tests:rate", Policy("freely", 1_000_000, 1, 1_000_000))]
"""A rate that refuses nothing, for tests of leases."""


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    client.close()


@pytest.fixture
def rates(redis: Redis) -> RedisRates:
    return RedisRates(redis)


@pytest.fixture
def subject() -> Subject:
    return a_subject()


def a_subject(plan: str = "tested") -> Subject:
    return Subject(random_id(Prefix.INTERNAL), "k1", plan)


def a_limiter(redis: Redis, **limits: Any) -> Limiter:
    """A limiter whose plan `tested` allows nearly everything but for what is given."""
    return Limiter(redis, {**published_plans(), "tested": WIDE.model_copy(update=limits)}, 1)


def a_key(name: str = "rate") -> str:
    return f"ks:{random_id(Prefix.INTERNAL)}:{name}"


def redis_us(redis: Redis) -> int:
    seconds, microseconds = redis.time()
    return int(seconds) * 1_000_000 + int(microseconds)


def decided(decision: Decision | None) -> Decision:
    assert decision is not None
    return decision


def until_refused(act: Callable[[], bool]) -> int:
    """How often it was admitted before it was refused."""
    for admitted in range(CALLERS):
        if not act():
            return admitted
    pytest.fail("was never refused")


@dataclass
class Rush:
    """What 500 simultaneous callers got; moments are of Redis' clock, in microseconds.

    The first was decided between `released_at` and `first_answer_at`; a refusal, after which nothing was left,
    between `refused_after` and `ended_at`. A machine that stalls moves these moments apart and nothing else.
    """

    admitted: int = 0
    released_at: int = 0
    first_answer_at: int = 0
    refused_after: int = 0
    ended_at: int = 0

    def assert_exact(self, burst: int, per_second: float) -> None:
        """The burst and the rate and no more; and nothing that was free is withheld."""
        longest, shortest = self.ended_at - self.released_at, self.refused_after - self.first_answer_at
        assert self.admitted <= burst + per_second * longest / 1_000_000
        assert self.admitted >= burst + per_second * shortest / 1_000_000 - 1


def all_at_once(redis: Redis, act: Callable[[], bool]) -> Rush:
    rush, lock, answers = Rush(), threading.Lock(), [0]

    def release() -> None:
        rush.released_at = redis_us(redis)

    start = threading.Barrier(CALLERS, action=release)

    def caller(_: int) -> bool:
        start.wait()
        admitted = act()
        with lock:
            answers[0] += 1
            if answers[0] == 1:
                rush.first_answer_at = redis_us(redis)
        return admitted

    with ThreadPoolExecutor(CALLERS) as pool:
        rush.admitted = sum(pool.map(caller, range(CALLERS)))

    def act_and_note_when() -> bool:
        rush.refused_after = redis_us(redis)
        return act()

    # what became free while the last threads ended is part of what the callers could have
    rush.admitted += until_refused(act_and_note_when)
    rush.ended_at = redis_us(redis)
    return rush


# Exactness --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_minute", [60, 600])
def test_500_simultaneous_callers_get_the_burst_and_the_rate(
    redis: Redis, rates: RedisRates, per_minute: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = Ask(a_key(), Policy("tested", per_minute, 60, 20))
    rush = all_at_once(redis, lambda: decided(rates.decide([ask], None)).wait_us == 0)
    with capsys.disabled():
        seconds = (rush.ended_at - rush.released_at) / 1_000_000
        print(f"\n{CALLERS} callers, burst 20, {per_minute}/min: {rush.admitted} admitted in {seconds:.3f} s by Redis")
    rush.assert_exact(20, per_minute / 60)


def test_500_simultaneous_callers_of_a_free_key_get_what_the_plan_says(redis: Redis) -> None:
    limiter, subject = Limiter(redis, published_plans(), 1), a_subject("free")
    rush = all_at_once(redis, lambda: isinstance(limiter.admit(subject, RateClass.DATA), Admitted))
    rush.assert_exact(20, 1)


def test_many_keys_of_one_organization_get_no_more_than_its_burst(redis: Redis) -> None:
    limiter, organization = a_limiter(redis, metadata=60, burst=20), random_id(Prefix.INTERNAL)
    verdicts = [
        limiter.admit(Subject(organization, f"k{number}", "tested"), RateClass.METADATA) for number in range(30)
    ]
    admitted = [verdict for verdict in verdicts if isinstance(verdict, Admitted)]
    refused = [verdict for verdict in verdicts if isinstance(verdict, Refused)]
    assert 20 <= len(admitted) <= 22
    assert {verdict.policy.name for verdict in refused} == {"organization-metadata"}


@pytest.mark.parametrize(
    ("limits", "policy"),
    [
        ({"requests_per_minute": 3}, "key-minute"),
        ({"requests_per_second": 1, "burst": 3}, "key-second"),
        ({"search": 3}, "organization-search"),
        ({"organization_requests_per_second": 1, "burst": 3}, "organization-second"),
    ],
)
def test_each_limit_refuses_by_its_own_name(
    redis: Redis, subject: Subject, limits: dict[str, int], policy: str
) -> None:
    limiter = a_limiter(redis, **limits)
    verdicts = [limiter.admit(subject, RateClass.SEARCH) for _ in range(4)]
    assert [type(verdict) for verdict in verdicts] == [Admitted, Admitted, Admitted, Refused]
    assert isinstance(verdicts[-1], Refused)
    assert verdicts[-1].policy.name == policy


def test_a_routes_own_limit_counts_for_the_organization_and_for_no_other_route(redis: Redis, subject: Subject) -> None:
    limiter = a_limiter(redis, routes={"retrievers.execute": 2})
    other = Subject(subject.internal_id, "k2", "tested")
    verdicts = [
        limiter.admit(caller, RateClass.SEARCH, route="retrievers.execute") for caller in (subject, other, subject)
    ]
    assert [type(verdict) for verdict in verdicts] == [Admitted, Admitted, Refused]
    assert isinstance(verdicts[2], Refused)
    assert verdicts[2].policy == Policy("route-retrievers.execute", 2, 60, 2)
    assert 29 <= verdicts[2].retry_after_seconds <= 30
    assert isinstance(limiter.admit(subject, RateClass.SEARCH, route="retrievers.explain"), Admitted)
    assert isinstance(limiter.admit(a_subject(), RateClass.SEARCH, route="retrievers.execute"), Admitted)


def test_what_is_left_counts_down_and_says_when_there_is_more(rates: RedisRates) -> None:
    ask = Ask(a_key(), Policy("tested", 1, 3_600, 3))
    answers = [decided(rates.decide([ask], None)) for _ in range(4)]
    assert [answer.remaining for answer in answers] == [2, 1, 0, 0]
    hour = 3_600_000_000
    assert all(hour - 60_000_000 < answer.reset_us <= hour for answer in answers)
    assert answers[3].wait_us == answers[3].reset_us


def test_a_request_may_cost_more_than_one(rates: RedisRates) -> None:
    ask = Ask(a_key(), Policy("tested", 1, 3_600, 10, cost=4))
    answers = [decided(rates.decide([ask], None)) for _ in range(3)]
    assert [(answer.remaining, answer.wait_us > 0) for answer in answers] == [(6, False), (2, False), (2, True)]


# All or nothing ---------------------------------------------------------------------------------------


def test_a_refusal_by_the_organization_leaves_the_keys_count_untouched(redis: Redis, subject: Subject) -> None:
    limiter = a_limiter(redis, data=1, routes={"slow": 9}, **SLOW)
    for rate_class in RateClass:
        assert isinstance(limiter.admit(subject, rate_class), Admitted)
    other = Subject(subject.internal_id, "k2", "tested")
    before = redis.get(organization_rate_key(subject.internal_id, "organization-second"))
    refused = limiter.admit(other, RateClass.DATA, route="slow", lease_id="l", lease_seconds=60)
    assert isinstance(refused, Refused)
    assert refused.policy.name == "organization-data"
    untouched = [key_rate_key(other.internal_id, "k2", name) for name in ("key-minute", "key-second")]
    route_key = organization_rate_key(subject.internal_id, "route-slow")
    assert redis.exists(*untouched, route_key, lease_key(subject.internal_id)) == 0
    assert redis.get(organization_rate_key(subject.internal_id, "organization-second")) == before


def test_a_refusal_by_the_cap_counts_nothing(redis: Redis, subject: Subject) -> None:
    limiter = a_limiter(redis, concurrent=1, compute=60, **SLOW)
    for _ in range(5):
        assert isinstance(limiter.admit(subject, RateClass.COMPUTE, lease_id="a", lease_seconds=60), Admitted)
    before = {key: redis.get(key) for key in redis.scan_iter(f"ks:{subject.internal_id}:rate:*")}
    refused = limiter.admit(subject, RateClass.COMPUTE, lease_id="b", lease_seconds=60)
    assert isinstance(refused, Refused)
    assert (refused.policy.name, refused.remaining) == ("organization-concurrency", 0)
    assert {key: redis.get(key) for key in redis.scan_iter(f"ks:{subject.internal_id}:rate:*")} == before
    assert len(before) == 4


# True waits -------------------------------------------------------------------------------------------


def assert_wait_is_true(redis: Redis, ask: Callable[[], Decision]) -> None:
    """After a refusal, whoever asks too early is refused and whoever waited as told is admitted."""
    earliest = redis_us(redis)
    wait = ask().wait_us
    latest = redis_us(redis)
    assert 0 < wait < MOMENT_US
    while (before := redis_us(redis)) < latest + wait:
        early = ask().wait_us == 0
        if early:
            # it may pass only when it was decided at or after the moment that was promised
            assert redis_us(redis) >= earliest + wait
            return
    assert before >= latest + wait
    assert ask().wait_us == 0


@pytest.mark.parametrize(("burst", "cost"), [(1, 1), (5, 1), (5, 3)])
def test_the_wait_of_a_rate_is_exact(redis: Redis, rates: RedisRates, burst: int, cost: int) -> None:
    ask = Ask(a_key(), Policy("tested", 20, 1, burst, cost))
    until_refused(lambda: decided(rates.decide([ask], None)).wait_us == 0)
    assert_wait_is_true(redis, lambda: decided(rates.decide([ask], None)))


def test_waiting_as_long_as_the_slowest_limit_says_satisfies_all(redis: Redis, rates: RedisRates) -> None:
    slow, quick = Ask(a_key("slow"), Policy("slow", 5, 1, 1)), Ask(a_key("quick"), Policy("quick", 50, 1, 1))
    assert decided(rates.decide([quick, slow], None)).wait_us == 0
    refused = decided(rates.decide([quick, slow], None))
    assert refused.binding == 1
    assert_wait_is_true(redis, lambda: decided(rates.decide([quick, slow], None)))


def test_whoever_waits_as_retry_after_says_is_admitted(redis: Redis, subject: Subject) -> None:
    limiter = a_limiter(redis, requests_per_second=2, burst=1)
    limiter.admit(subject, RateClass.DATA)
    refused = limiter.admit(subject, RateClass.DATA)
    assert isinstance(refused, Refused)
    assert refused.retry_after_seconds == 1
    until = redis_us(redis) + refused.retry_after_seconds * 1_000_000
    while redis_us(redis) < until:
        pass
    assert isinstance(limiter.admit(subject, RateClass.DATA), Admitted)


# Work under way ---------------------------------------------------------------------------------------


def test_the_cap_holds_under_100_threads(redis: Redis, subject: Subject) -> None:
    limiter, cap = a_limiter(redis, concurrent=5), 5
    lock, under_way, most = threading.Lock(), [0], [0]
    start = threading.Barrier(100)

    def worker(number: int) -> int:
        start.wait()
        admitted = 0
        for turn in range(20):
            verdict = limiter.admit(subject, RateClass.SEARCH, lease_id=f"{number}-{turn}", lease_seconds=60)
            if isinstance(verdict, Admitted) and verdict.lease:
                admitted += 1
                with lock:
                    under_way[0] += 1
                    most[0] = max(most[0], under_way[0])
                # something real while the place is held
                redis.ping()
                with lock:
                    under_way[0] -= 1
                limiter.release(verdict.lease)
        return admitted

    with ThreadPoolExecutor(100) as pool:
        admitted = sum(pool.map(worker, range(100)))
    assert most[0] <= cap
    assert admitted > cap
    assert redis.zcard(lease_key(subject.internal_id)) == 0


def test_without_releases_exactly_the_cap_of_100_threads_is_admitted(redis: Redis, subject: Subject) -> None:
    limiter, start = a_limiter(redis, concurrent=5), threading.Barrier(100)

    def worker(number: int) -> bool:
        start.wait()
        verdict = limiter.admit(subject, RateClass.COMPUTE, lease_id=str(number), lease_seconds=60)
        return isinstance(verdict, Admitted)

    with ThreadPoolExecutor(100) as pool:
        assert sum(pool.map(worker, range(100))) == 5


def test_the_place_of_a_crashed_holder_is_free_when_its_lease_ends(redis: Redis, rates: RedisRates) -> None:
    key, cap = a_key("leases"), Policy("cap", 2, 0, 2)
    for holder, seconds in (("crashed", 0.2), ("alive", 60)):
        assert decided(rates.decide(FREELY, LeaseAsk(key, holder, cap, seconds))).wait_us == 0
    assert_wait_is_true(redis, lambda: decided(rates.decide(FREELY, LeaseAsk(key, "next", cap, 60))))
    assert sorted(redis.zrange(key, 0, -1)) == [b"alive", b"next"]


def test_a_holder_that_asks_again_keeps_its_one_place(rates: RedisRates) -> None:
    key, cap = a_key("leases"), Policy("cap", 1, 0, 1)
    assert decided(rates.decide(FREELY, LeaseAsk(key, "a", cap, 60))).wait_us == 0
    assert decided(rates.decide(FREELY, LeaseAsk(key, "a", cap, 60))).wait_us == 0
    assert decided(rates.decide(FREELY, LeaseAsk(key, "b", cap, 60))).wait_us > 0


def test_a_released_place_is_free_at_once(redis: Redis, subject: Subject) -> None:
    limiter = a_limiter(redis, concurrent=1)
    verdict = limiter.admit(subject, RateClass.UPLOAD, lease_id="a", lease_seconds=60)
    assert isinstance(verdict, Admitted)
    assert verdict.lease
    limiter.release(verdict.lease)
    assert isinstance(limiter.admit(subject, RateClass.UPLOAD, lease_id="b", lease_seconds=60), Admitted)


# The clock of Redis -----------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_delays_by_less_than_a_burst(redis: Redis, rates: RedisRates) -> None:
    policy = Policy("tested", 20, 1, 4)
    ask = Ask(a_key(), policy)
    redis.set(ask.key, redis_us(redis) + 3_600_000_000)
    assert decided(rates.decide([ask], None)).wait_us <= policy.burst * policy.interval_us
    assert_wait_is_true(redis, lambda: decided(rates.decide([ask], None)))


def test_leases_from_before_the_clock_was_set_back_hold_no_place(redis: Redis, rates: RedisRates) -> None:
    key, cap = a_key("leases"), Policy("cap", 1, 0, 1)
    redis.zadd(key, {"old": redis_us(redis) + (LONGEST_LEASE_SECONDS + 60) * 1_000_000})
    assert decided(rates.decide(FREELY, LeaseAsk(key, "new", cap, 60))).wait_us == 0


# Keys and calls ---------------------------------------------------------------------------------------


def test_every_key_names_its_organization_and_vanishes_when_idle(redis: Redis, subject: Subject) -> None:
    limiter = a_limiter(redis, data=60, routes={"slow": 6}, **SLOW)
    verdict = limiter.admit(subject, RateClass.DATA, route="slow", lease_id="l", lease_seconds=30)
    assert isinstance(verdict, Admitted)
    ends = {key.decode(): redis.pttl(key) for key in redis.scan_iter(f"ks:{subject.internal_id}:*")}
    assert set(ends) == {
        key_rate_key(subject.internal_id, "k1", "key-minute"),
        key_rate_key(subject.internal_id, "k1", "key-second"),
        organization_rate_key(subject.internal_id, "organization-data"),
        organization_rate_key(subject.internal_id, "organization-second"),
        organization_rate_key(subject.internal_id, "route-slow"),
        lease_key(subject.internal_id),
    }
    assert all(0 < left <= 60_000 for left in ends.values())
    assert 10_000 < ends[lease_key(subject.internal_id)] <= 30_000


def test_a_decision_and_a_release_are_one_call_each(redis: Redis, subject: Subject) -> None:
    limiter = a_limiter(redis, routes={"slow": 100})
    limiter.admit(subject, RateClass.SEARCH)

    def decide() -> None:
        verdict = limiter.admit(subject, RateClass.SEARCH, route="slow", lease_id="l", lease_seconds=60)
        assert isinstance(verdict, Admitted)
        assert verdict.lease
        limiter.release(verdict.lease)

    assert calls_of(redis, decide) == ["EVALSHA", "ZREM"]


def test_a_redis_that_forgot_the_script_gets_it_again(redis: Redis, subject: Subject) -> None:
    limiter = a_limiter(redis)
    redis.script_flush()
    assert isinstance(limiter.admit(subject, RateClass.COMPUTE), Admitted)
