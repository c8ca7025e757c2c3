"""One attempt against endpoints that behave badly: bounded in time and size, and never sent where it may not go."""

import asyncio
import gzip
import socket
import threading
import time
from typing import Any

import pytest
import uvloop

from core.egress.connector import GuardedResolver
from core.egress.policy import EgressPolicy
from core.errors import EgressDeniedError
from core.webhooks.delivery import Attempt, AttemptResult
from tests.receiver import (
    Answer,
    byte_by_byte,
    dripping,
    endless_continue,
    hang_up,
    kept_alive,
    plain,
    raw,
    receiver,
    silent,
)
from workers.sender import Sender

LOOPBACK = EgressPolicy.allowing(["127.0.0.0/8", "::1/128"])
DEADLINE_SECONDS = 0.5


def send(*urls: str, policy: EgressPolicy = LOOPBACK, headers: dict[str, str] | None = None) -> list[Attempt]:
    """One attempt for each URL, one after the other, by one sender."""

    async def send_all() -> list[Attempt]:
        sender = Sender(policy, timeout_seconds=30, slots=4)
        try:
            return [await sender.send(url, headers or {}, b"{}", DEADLINE_SECONDS) for url in urls]
        finally:
            await sender.close()

    return uvloop.run(send_all())


def answered(answer: Answer) -> Attempt:
    with receiver(answer) as endpoint:
        (attempt,) = send(endpoint.url)
    return attempt


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(silent, id="no answer"),
        pytest.param(dripping(b"X-A: b\r\n", 0.05, b"HTTP/1.1 200 X\r\n"), id="headers that drip"),
        pytest.param(dripping(b"x", 0.05, b"HTTP/1.1 200 "), id="a status line that drips"),
    ],
)
def test_a_hanging_endpoint_is_left_at_the_deadline(answer: Answer) -> None:
    attempt = answered(answer)
    assert (attempt.result, attempt.error) == (AttemptResult.TIMED_OUT, "timeout")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(dripping(b"X-A: " + b"b" * 4000 + b"\r\n", 0, b"HTTP/1.1 200 X\r\n"), id="endless headers"),
        pytest.param(dripping(b"b" * 4000, 0, b"HTTP/1.1 200 X\r\nX-A: "), id="an endless header"),
        pytest.param(endless_continue, id="endless 100 Continue"),
        pytest.param(
            raw(b"HTTP/1.1 200 X\r\n" + b"X-A: %s\r\n" % (b"b" * 30_000) * 10 + b"\r\n"), id="a head beyond all bounds"
        ),
        pytest.param(raw(b"220 mail.example.com ESMTP\r\n"), id="another protocol"),
        pytest.param(raw(b"HTTP/1.1 200 X\r\nContent-Length: nine\r\n\r\nshort"), id="a head that contradicts itself"),
        pytest.param(raw(b"HTTP/1.1 200 X\r\n"), id="half a head"),
        pytest.param(raw(b"HTTP/1.1 103 X\r\n\r\n"), id="an interim answer alone"),
        pytest.param(raw(b"\xff" * 100), id="noise"),
    ],
)
def test_an_answer_that_is_no_http_is_a_failed_attempt(answer: Answer) -> None:
    attempt = answered(answer)
    assert attempt.result in {AttemptResult.UNREACHABLE, AttemptResult.TIMED_OUT}


CHUNKED = b"HTTP/1.1 %d X\r\n%sTransfer-Encoding: chunked\r\n\r\n"
GOOD_ANSWER = b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n"
BROKEN_BODIES = [
    pytest.param(CHUNKED % (200, b"") + b"ZZ\r\n", 200, "body_invalid", id="a bad chunk size"),
    pytest.param(CHUNKED % (201, b"") + b"5\r\nhelloXX", 201, "body_invalid", id="a chunk without an end"),
    pytest.param(CHUNKED % (202, b"") + b"5\r\nhello\r\n", 202, "body_invalid", id="no last chunk"),
    pytest.param(CHUNKED % (200, b"") + b"fffffffffffffffff\r\n", 200, "body_invalid", id="an absurd chunk size"),
    pytest.param(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nshort", 200, "body_invalid", id="a body cut short"),
    pytest.param(
        b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nokGARBAGE", 200, "bytes_after_answer", id="garbage behind"
    ),
    pytest.param(GOOD_ANSWER + GOOD_ANSWER, 200, "bytes_after_answer", id="two answers"),
    pytest.param(GOOD_ANSWER + b"HTTP/1.1 5", 200, "bytes_after_answer", id="an answer and a half"),
    pytest.param(b"HTTP/1.1 204 X\r\n\r\nbody", 204, "bytes_after_answer", id="a 204 with a body"),
    pytest.param(
        b"HTTP/1.1 103 X\r\nLink: a\r\n\r\n" + CHUNKED % (200, b"") + b"ZZ\r\n", 200, "body_invalid", id="hints"
    ),
    pytest.param(b"HTTP/1.1 200 X\nContent-Length: 9\n\nshort", 200, "body_invalid", id="line feeds alone"),
    pytest.param(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 9\r\n\r\n", 302, "body_invalid", id="a redirect"),
    pytest.param(CHUNKED % (410, b"") + b"ZZ\r\n", 410, "body_invalid", id="gone"),
    pytest.param(CHUNKED % (429, b"Retry-After: 7\r\n") + b"ZZ\r\n", 429, "body_invalid", id="too many"),
    pytest.param(CHUNKED % (503, b"Retry-After: 7\r\n") + b"ZZ\r\n", 503, "body_invalid", id="unavailable"),
]


@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(("data", "status", "fault"), BROKEN_BODIES)
def test_the_status_decides_whatever_becomes_of_the_body(data: bytes, status: int, fault: str, in_pieces: bool) -> None:
    attempt = answered(byte_by_byte(data) if in_pieces else raw(data))
    delivered = status < 300
    assert attempt.result is (AttemptResult.DELIVERED if delivered else AttemptResult.REFUSED)
    assert (attempt.status_code, attempt.error) == (status, None if delivered else f"http_{status}")
    # behind a whole answer nobody waits for more: what comes later only closes the connection
    assert attempt.answer_fault in ({fault, None} if in_pieces and fault == "bytes_after_answer" else {fault})
    assert attempt.retry_after == ("7" if status in (429, 503) else None)


@pytest.mark.parametrize("status", [200, 500])
def test_the_status_decides_although_the_body_drips_past_the_deadline(status: int) -> None:
    attempt = answered(dripping(b"x", 0.05, b"HTTP/1.1 %d X\r\nContent-Length: 100000\r\n\r\n" % status))
    assert attempt.result is (AttemptResult.DELIVERED if status == 200 else AttemptResult.REFUSED)
    assert (attempt.status_code, attempt.answer_fault) == (status, "timeout")
    assert attempt.response_body.startswith("x")


def test_a_whole_answer_has_no_fault() -> None:
    for answer in (plain(200, body=b"fine"), raw(b"HTTP/1.1 200 X\r\n\r\nto the end"), kept_alive):
        assert (found := answered(answer)).answer_fault is None, found


@pytest.mark.parametrize(
    "behind",
    [GOOD_ANSWER, b"HTTP/1.1 200 X\r\nContent-Le", b"\x00garbage", CHUNKED % (200, b"") + b"ZZ\r\n", b"\r\n"],
    ids=["an answer", "half a head", "noise", "a broken answer", "a line"],
)
@pytest.mark.parametrize("later", [False, True], ids=["with it", "when nobody asks"])
def test_nothing_behind_an_answer_is_read_as_the_next_one(behind: bytes, later: bool) -> None:
    sent = threading.Event()

    def answer(connection: socket.socket) -> None:
        if later:
            connection.sendall(GOOD_ANSWER)
            time.sleep(0.05)
            connection.sendall(behind)
        else:
            connection.sendall(GOOD_ANSWER + behind)
        sent.set()

    async def send_twice(url: str) -> list[Attempt]:
        sender = Sender(LOOPBACK, timeout_seconds=30, slots=4)
        try:
            first = await sender.send(url, {}, b"{}", 5)
            # without a turn of the loop for what came meanwhile
            sent.wait()
            return [first, await sender.send(url, {}, b"{}", 5)]
        finally:
            await sender.close()

    with receiver(answer, plain(418)) as endpoint:
        first, second = uvloop.run(send_twice(endpoint.url))
        assert (first.result, second.status_code) == (AttemptResult.DELIVERED, 418)
        assert len(endpoint.requests) == 2


def test_a_good_connection_is_used_again() -> None:
    with receiver(kept_alive) as endpoint:
        send(endpoint.url, endpoint.url, endpoint.url)
        assert len({request.peer for request in endpoint.requests}) == 1


def test_an_endless_answer_is_cut() -> None:
    attempt = answered(dripping(b"x" * 65536, 0))
    assert (attempt.result, len(attempt.response_body)) == (AttemptResult.DELIVERED, 16 * 1024)


def test_a_compressed_answer_is_not_inflated() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    attempt = answered(plain(200, "Content-Encoding: gzip\r\n", bomb))
    assert attempt.result is AttemptResult.DELIVERED
    assert not attempt.response_body.startswith("\x00")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Security-Policy: %s\r\n" % (b"a" * 30_000), id="a long header"),
        pytest.param(b"".join(b"X-%d: a\r\n" % number for number in range(400)), id="many headers"),
    ],
)
@pytest.mark.parametrize("status", [200, 410])
def test_the_status_of_a_large_head_counts(head: bytes, status: int) -> None:
    attempt = answered(raw(b"HTTP/1.1 %d X\r\n%sContent-Length: 0\r\n\r\n" % (status, head)))
    assert attempt.status_code == status


def test_a_url_is_called_as_it_was_written() -> None:
    with receiver() as endpoint:
        send(endpoint.url + "/../a?sp=%2Frun&sig=%41%2b")
        assert endpoint.requests[0].target == "/hook/../a?sp=%2Frun&sig=%41%2b"


def test_a_redirect_is_kept_without_the_credentials_of_its_url() -> None:
    attempt = answered(plain(308, "Location: https://me:mine@example.com/hook/?token=abcdefgh&v=1\r\n"))
    assert attempt.response_headers["location"] == "https://***@example.com/hook/?token=***&v=1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiver() as other, receiver(plain(status, f"Location: {other.url}\r\n")) as endpoint:
        (attempt,) = send(endpoint.url)
        assert (attempt.result, attempt.error) == (AttemptResult.REFUSED, f"http_{status}")
        assert attempt.response_headers["location"] == other.url
        assert other.requests == []


def test_header_values_that_are_no_text_can_be_stored() -> None:
    attempt = answered(raw(b"HTTP/1.1 200 X\r\nServer: \xff\xfe\r\nContent-Length: 3\r\n\r\n\xff\x00a"))
    assert attempt.response_headers["server"].encode()
    assert attempt.response_body.encode() == "\ufffd\x00a".encode()


def test_a_kept_connection_that_was_closed_is_tried_once_more_on_a_new_one() -> None:
    with receiver(kept_alive, hang_up, plain(200)) as endpoint:
        attempts = send(endpoint.url, endpoint.url)
        assert [attempt.result for attempt in attempts] == [AttemptResult.DELIVERED] * 2
        assert len(endpoint.requests) == 3


def test_a_new_connection_that_was_closed_may_have_been_heard_and_is_not_repeated() -> None:
    with receiver(hang_up, plain(200)) as endpoint:
        (attempt,) = send(endpoint.url)
        assert (attempt.result, attempt.error) == (AttemptResult.UNREACHABLE, "connection_lost")
        assert len(endpoint.requests) == 1


def test_the_request_is_what_was_asked_for() -> None:
    with receiver() as endpoint:
        send(endpoint.url, headers={"X-Own": "é"})
        (request,) = endpoint.requests
    assert request.body == b"{}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Keystage-Webhooks/")
    assert request.headers["x-own"] == "é"


def test_the_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as endpoint:
        monkeypatch.setenv("http_proxy", proxy.url)
        (attempt,) = send(endpoint.url)
        assert (attempt.result, proxy.requests) == (AttemptResult.DELIVERED, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "[::1]"])
def test_a_private_address_is_never_called_however_it_is_written(host: str) -> None:
    with receiver() as endpoint:
        (attempt,) = send(endpoint.url.replace("127.0.0.1", host), policy=EgressPolicy())
        assert attempt.result is AttemptResult.BLOCKED
        assert endpoint.requests == []
    assert "127" not in str(attempt)


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "127.0.0.1.", "x@127.0.0.1", "a\\@127.0.0.1"])
def test_a_url_that_would_be_refused_today_is_blocked_at_once(host: str) -> None:
    with receiver() as endpoint:
        (attempt,) = send(endpoint.url.replace("127.0.0.1", host))
        assert (attempt.result, attempt.error, endpoint.requests) == (AttemptResult.BLOCKED, "invalid_url", [])


def test_a_mapped_private_address_is_blocked_at_the_moment_of_connecting() -> None:
    with receiver() as endpoint:
        (attempt,) = send(endpoint.url.replace("127.0.0.1", "[::ffff:127.0.0.1]"), policy=EgressPolicy())
        assert (attempt.result, attempt.error) == (AttemptResult.BLOCKED, "egress_denied")


def test_a_name_with_one_bad_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_answers(_host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        addresses = ["93.184.216.34", "10.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", two_answers)

    async def resolve() -> None:
        await GuardedResolver(EgressPolicy(), threads=1).resolve("mixed.example.com", 443)

    with pytest.raises(EgressDeniedError):
        uvloop.run(resolve())


def test_a_name_that_nobody_has_and_a_port_where_nobody_listens_are_told_apart() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        attempts = send("http://name.invalid/", closed)
    assert [attempt.error for attempt in attempts] == ["dns_failed", "connect_failed"]


def test_names_that_nobody_answers_for_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up, released = socket.getaddrinfo, threading.Event()

    def some_hang(host: Any, *arguments: Any, **named: Any) -> Any:
        if str(host).startswith("hanging"):
            released.wait()
        return look_up("localhost", *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", some_hang)

    async def send_beside_hanging_names(url: str) -> Attempt:
        sender = Sender(LOOPBACK, 30.0, slots=64)
        stuck = [
            asyncio.create_task(sender.send(f"http://hanging{number}.example/", {}, b"{}", 30.0))
            for number in range(40)
        ]
        await asyncio.sleep(0)
        try:
            return await sender.send(url, {}, b"{}", 10.0)
        finally:
            released.set()
            await asyncio.gather(*stuck)
            await sender.close()

    with receiver() as endpoint:
        attempt = uvloop.run(send_beside_hanging_names(endpoint.url.replace("127.0.0.1", "quick.example")))
    assert attempt.result is AttemptResult.DELIVERED
