"""The limiters while Redis is away, silent or confused: each class as documented, never unlimited, no exception."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.plans import published_plans
from core.ids import Prefix, random_id
from core.limits.limiter import Limiter
from core.limits.policy import Admitted, RateClass, Refused, Unavailable
from core.limits.subject import Subject
from core.storage.redis import connect_redis_impatiently, key_rate_key
from tests.contract.test_auth_failures import a_failure_limiter
from tests.servers import free_port, redis_server

COUNTED_LOCALLY = [RateClass.METADATA, RateClass.DATA, RateClass.SEARCH]
NOT_COUNTED = [RateClass.UPLOAD, RateClass.COMPUTE]
DEADLINE_SECONDS = 30.0


def a_limiter(url: str, api_processes: int = 1) -> Limiter:
    return Limiter(connect_redis_impatiently(url), published_plans(), api_processes)


def a_subject() -> Subject:
    return Subject(random_id(Prefix.INTERNAL), "k1", "free")


@pytest.fixture
def dead_url() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


@pytest.mark.parametrize("rate_class", COUNTED_LOCALLY)
def test_reading_goes_on_at_the_share_of_one_process(dead_url: str, rate_class: RateClass) -> None:
    limiter, subject = a_limiter(dead_url, api_processes=2), a_subject()
    verdicts = [limiter.admit(subject, rate_class) for _ in range(15)]
    admitted = [verdict for verdict in verdicts if isinstance(verdict, Admitted)]
    assert 10 <= len(admitted) <= 12
    refused = verdicts[-1]
    assert isinstance(refused, Refused)
    assert (refused.policy.name, refused.retry_after_seconds) == ("key-minute", 2)


@pytest.mark.parametrize("rate_class", NOT_COUNTED)
def test_work_that_has_to_be_counted_is_not_started(dead_url: str, rate_class: RateClass) -> None:
    verdict = a_limiter(dead_url).admit(a_subject(), rate_class, lease_id="l", lease_seconds=60)
    assert verdict == Unavailable(5)


def test_the_cap_on_executions_holds_in_the_process(dead_url: str) -> None:
    limiter, subject = a_limiter(dead_url), a_subject()
    verdicts = [limiter.admit(subject, RateClass.SEARCH, lease_id=str(number)) for number in range(6)]
    assert [type(verdict) for verdict in verdicts] == [Admitted] * 5 + [Refused]
    first = verdicts[0]
    assert isinstance(first, Admitted)
    assert first.lease
    limiter.release(first.lease)
    assert isinstance(limiter.admit(subject, RateClass.SEARCH, lease_id="6"), Admitted)


def test_a_redis_that_dies_and_comes_back_is_used_again(tmp_path: Path) -> None:
    port, subject = free_port(), a_subject()
    with redis_server(tmp_path, port) as server:
        limiter = a_limiter(server.url)
        verdict = limiter.admit(subject, RateClass.UPLOAD, lease_id="l")
        assert isinstance(verdict, Admitted)
    assert limiter.admit(subject, RateClass.UPLOAD) == Unavailable(5)
    assert isinstance(limiter.admit(subject, RateClass.DATA), Admitted)
    assert verdict.lease
    limiter.release(verdict.lease)
    with redis_server(tmp_path, port):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while isinstance(limiter.admit(subject, RateClass.UPLOAD), Unavailable):
            assert time.monotonic() < deadline


@contextmanager
def silent_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that accepts and never answers, like a Redis that is stopped or cut off, and what it accepted."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            try:
                while True:
                    accepted.append(listener.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0", accepted
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in accepted:
        connection.close()


def test_a_silent_redis_is_waited_for_by_one_request_and_not_by_the_next_ones() -> None:
    with silent_server() as (url, accepted):
        limiter, subject = a_limiter(url), a_subject()
        verdicts = [limiter.admit(subject, RateClass.COMPUTE) for _ in range(50)]
        assert verdicts == [Unavailable(5)] * 50
        assert len(accepted) == 1


def test_an_error_of_redis_itself_is_no_exception_and_no_way_through(redis_url: str) -> None:
    subject, redis = a_subject(), connect_redis_impatiently(redis_url)
    redis.rpush(key_rate_key(subject.internal_id, "k1", "key-minute"), "not a number")
    assert a_limiter(redis_url).admit(subject, RateClass.COMPUTE) == Unavailable(5)
    redis.close()


def test_failures_cannot_be_noted_and_that_is_said(dead_url: str) -> None:
    redis = connect_redis_impatiently(dead_url)
    limiter = a_failure_limiter(redis)
    assert limiter.check("192.0.2.1", "key") is None
    assert limiter.note("192.0.2.1", "key") is False
