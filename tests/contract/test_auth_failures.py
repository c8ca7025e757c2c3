"""The limiter of failed authentications on a real Redis: failures count, looking does not, and one call is enough."""

from collections.abc import Iterator

import pytest
from redis import Redis

from core.limits.auth_failures import AuthFailureLimiter, FailurePolicies
from core.limits.policy import Policy
from core.storage.redis import connect_redis, key_failures_key, source_failures_key
from tests.redis_calls import calls_of

SOURCE, KEY_ID = "192.0.2.1", "AbCdEf123456"


def a_failure_limiter(redis: Redis) -> AuthFailureLimiter:
    """With the default figures."""
    return AuthFailureLimiter(redis, FailurePolicies(Policy("source", 10, 60, 20), Policy("key", 60, 60, 100)))


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect_redis(redis_url)
    client.delete(*client.keys("ks:auth-failures:*") or ["none"])
    yield client
    client.close()


@pytest.fixture
def failures(redis: Redis) -> AuthFailureLimiter:
    return a_failure_limiter(redis)


def test_a_source_is_heard_out_for_its_burst_and_then_waits(failures: AuthFailureLimiter) -> None:
    for _ in range(20):
        assert failures.check(SOURCE, None) is None
        assert failures.note(SOURCE, None)
    wait = failures.check(SOURCE, None)
    assert wait is not None
    assert 5 <= wait <= 6
    assert failures.check("192.0.2.2", None) is None


def test_a_key_id_is_protected_from_guesses_of_many_sources(failures: AuthFailureLimiter) -> None:
    for number in range(100):
        assert failures.note(f"198.51.100.{number}", KEY_ID)
    assert failures.check("203.0.113.1", KEY_ID) == 1
    assert failures.check("203.0.113.1", "another12345") is None


def test_looking_counts_nothing(redis: Redis, failures: AuthFailureLimiter) -> None:
    for _ in range(200):
        assert failures.check(SOURCE, KEY_ID) is None
    assert redis.keys("ks:auth-failures:*") == []


def test_more_failures_than_the_burst_are_not_held_against_anybody_for_longer(
    redis: Redis, failures: AuthFailureLimiter
) -> None:
    for _ in range(60):
        failures.note(SOURCE, None)
    wait = failures.check(SOURCE, None)
    assert wait is not None
    assert wait <= 6
    # a burst of intervals, and the one that was asked for: then the source is as good as new
    assert 0 < redis.pttl(source_failures_key(SOURCE)) <= 126_000


def test_a_clock_that_was_set_back_locks_nobody_out(redis: Redis, failures: AuthFailureLimiter) -> None:
    redis.set(source_failures_key(SOURCE), (redis.time()[0] + 86_400) * 1_000_000)
    assert failures.check(SOURCE, None) == 6
    assert 0 < redis.pttl(source_failures_key(SOURCE)) <= 120_000


@pytest.mark.parametrize(
    ("noted", "checked"),
    [("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), ("::ffff:192.0.2.1", "192.0.2.1"), ("", "")],
)
def test_addresses_of_one_customer_share_a_count(failures: AuthFailureLimiter, noted: str, checked: str) -> None:
    for _ in range(20):
        failures.note(noted, None)
    assert failures.check(checked, None) is not None
    assert failures.check("2001:db8:1:3::1", None) is None


def test_each_is_one_call(redis: Redis, failures: AuthFailureLimiter) -> None:
    failures.check(SOURCE, KEY_ID)
    assert calls_of(redis, lambda: failures.check(SOURCE, KEY_ID)) == ["EVALSHA"]
    assert calls_of(redis, lambda: failures.note(SOURCE, KEY_ID)) == ["EVALSHA"]
    assert redis.exists(source_failures_key(SOURCE), key_failures_key(KEY_ID)) == 2
