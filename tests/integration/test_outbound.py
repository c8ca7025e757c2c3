"""Requests to hosts that customers name: never sent where they may not go, and bounded in time and size."""

import gzip
import socket
import ssl
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.egress.fetch import Answer, Outgoing, fetch
from core.egress.policy import EgressPolicy
from core.egress.transport import outbound_client, system_resolve
from core.errors import EgressDeniedError, KeystageError, PayloadTooLargeError, UnavailableError
from tests.away_server import AwayServer, Conduct, Reply, away_server
from tests.patience import came_to
from tests.receiver import dripping, hang_up, plain, receiver, silent

LOOPBACK = EgressPolicy.allowing(["127.0.0.0/8", "::1/128"])
PUBLIC_ONLY = EgressPolicy()


def get(
    url: str,
    policy: EgressPolicy = LOOPBACK,
    resolve: Callable[[str, int], Sequence[str]] = system_resolve,
    seconds: float = 5,
    most: int = 1000,
) -> Answer:
    """One GET."""
    with outbound_client(policy, resolve) as client:
        return fetch(client, Outgoing("GET", url, {}), seconds, most)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",  # noqa: S104 - an address under test
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00::1]",
        "169.254.169.254",
        "2852039166",
        "[::ffff:169.254.169.254]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_an_inner_address_is_called(scheme: str, host: str) -> None:
    with pytest.raises(EgressDeniedError):
        get(f"{scheme}://{host}/latest/meta-data", PUBLIC_ONLY, seconds=2)


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "127.0.0.1."])
def test_an_address_in_another_form_is_not_called_although_it_may_be(host: str) -> None:
    with receiver(plain(200)) as endpoint, pytest.raises(EgressDeniedError, match="may not be called"):
        get(endpoint.url.replace("127.0.0.1", host))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1/", "//x", "http://"])
def test_only_web_urls_are_called(url: str) -> None:
    with pytest.raises(KeystageError):
        get(url)


def test_a_user_name_in_a_url_is_refused() -> None:
    with receiver(plain(200)) as endpoint, pytest.raises(EgressDeniedError):
        get(endpoint.url.replace("http://", "http://example.com@"))


def test_a_name_with_one_bad_address_among_good_ones_is_refused() -> None:
    with pytest.raises(EgressDeniedError):
        get("http://rebound.test/", PUBLIC_ONLY, lambda *_: ["93.184.216.34", "127.0.0.1"])


def test_a_resolver_that_changes_its_answer_is_asked_once_and_that_answer_is_called() -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    asked: list[str] = []

    def rebinding(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    with receiver(plain(200, body=b"ok")) as endpoint:
        port = endpoint.url.rpartition(":")[2].partition("/")[0]
        policy = EgressPolicy.allowing(["127.0.0.1/32"])
        answer = get(f"http://rebound.test:{port}/x", policy, rebinding)
        assert (answer.status, asked) == (200, ["rebound.test"])
        # the name, not the address, is what the other side is asked for
        assert endpoint.requests[0].headers["host"] == f"rebound.test:{port}"
        with pytest.raises(EgressDeniedError):
            get(f"http://rebound.test:{port}/x", policy, rebinding)


def test_tls_asks_for_the_name_and_refuses_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path, "rebound.test"))
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    def answer(connection: socket.socket) -> None:
        with suppress(ssl.SSLError, OSError):
            context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=lambda: answer(listener.accept()[0]))
        server.start()
        with pytest.raises(UnavailableError, match="ConnectError"):
            get(f"https://rebound.test:{listener.getsockname()[1]}/", resolve=lambda *_: ["127.0.0.1"])
        server.join()
    assert asked == ["rebound.test"]


def _self_signed(directory: Path, name: str) -> Path:
    """A certificate for a name, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = directory / "both.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return path


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with receiver(plain(200)) as inner, receiver(plain(302, f"Location: {inner.url}\r\n")) as endpoint:
        assert get(endpoint.url).status == 302
        assert inner.requests == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with receiver(plain(200, body=b"direct")) as endpoint:
        assert get(endpoint.url).body == b"direct"


@pytest.mark.parametrize("answer", [silent, dripping(b"x", 0.05), dripping(b"X-A: b\r\n", 0.05, b"HTTP/1.1 200 X\r\n")])
def test_a_slow_host_is_left_at_the_deadline(answer: Callable[[socket.socket], None]) -> None:
    with receiver(answer) as endpoint, pytest.raises(UnavailableError, match=r"within 0\.3 seconds"):
        get(endpoint.url, seconds=0.3, most=10**9)


def test_a_host_that_hangs_up_is_unavailable() -> None:
    with receiver(hang_up) as endpoint, pytest.raises(UnavailableError, match="no readable answer"):
        get(endpoint.url)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("", b"x" * 1001),
        ("Content-Encoding: gzip\r\n", gzip.compress(bytes(10_000_000))),
        ("Content-Encoding: deflate\r\n", zlib.compress(bytes(10_000_000))),
    ],
)
def test_too_large_an_answer_is_cut_off_before_and_after_decompression(headers: str, body: bytes) -> None:
    with receiver(plain(200, headers, body)) as endpoint, pytest.raises(PayloadTooLargeError):
        get(endpoint.url, most=1000)


def test_a_compressed_answer_is_read() -> None:
    with receiver(plain(200, "Content-Encoding: gzip\r\n", gzip.compress(b"hello"))) as endpoint:
        assert get(endpoint.url).body == b"hello"


def test_half_of_a_compressed_answer_is_none() -> None:
    whole = gzip.compress(b"hello, hello, hello")
    for body in (whole[:-9], whole[:5], whole + gzip.compress(b" and more")):
        with receiver(plain(200, "Content-Encoding: gzip\r\n", body)) as endpoint, pytest.raises(UnavailableError):
            get(endpoint.url)
    with receiver(plain(200, "Content-Encoding: gzip\r\n")) as endpoint:
        assert get(endpoint.url).body == b""


def test_an_encoding_nobody_asked_for_and_broken_gzip_are_no_answer() -> None:
    for headers in ("Content-Encoding: br\r\n", "Content-Encoding: gzip\r\n"):
        with receiver(plain(200, headers, b"not it")) as endpoint, pytest.raises(UnavailableError):
            get(endpoint.url)


unreachable_only_here = pytest.mark.skipif(
    sys.platform != "linux", reason="how a full queue is met is the kernel's own"
)


@pytest.fixture
def unreachable() -> Iterator[AwayServer]:
    """A port where nobody takes a connection, and nobody refuses one."""
    with away_server(lambda _: Reply(200, b"here")) as server:
        server.be(Conduct.UNREACHABLE)
        yield server


@unreachable_only_here
def test_a_connection_has_a_bound_of_its_own(unreachable: AwayServer) -> None:
    with outbound_client(LOOPBACK, connect_seconds=0.5) as client:
        request = Outgoing("GET", unreachable.url, {})
        # the call's own bound is far beyond anybody's patience
        error = came_to(lambda: fetch(client, request, seconds=60, most_bytes=10))
        assert isinstance(error, UnavailableError), repr(error)


@unreachable_only_here
def test_an_address_where_nobody_answers_leaves_the_next_one_its_time(unreachable: AwayServer) -> None:
    with socket.create_server(("127.0.0.2", unreachable.port)) as other:

        def serve() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                plain(200, body=b"there")(connection)

        threading.Thread(target=serve, daemon=True).start()
        both = ["127.0.0.1", "127.0.0.2"]
        with outbound_client(LOOPBACK, lambda *_: both, connect_seconds=2) as client:
            request = Outgoing("GET", f"http://both.test:{unreachable.port}/", {})
            assert fetch(client, request, seconds=60, most_bytes=10).body == b"there"


def test_the_wait_for_a_free_connection_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    one = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
    monkeypatch.setattr("core.egress.transport._CONNECTIONS", one)
    may_end = threading.Event()

    def answer_at_last(connection: socket.socket) -> None:
        may_end.wait(60)
        plain(200)(connection)

    with receiver(answer_at_last) as endpoint, outbound_client(LOOPBACK) as client:
        request = Outgoing("GET", endpoint.url, {})

        def hold() -> None:
            with suppress(UnavailableError):
                fetch(client, request, seconds=60, most_bytes=10)

        holding = threading.Thread(target=hold)
        holding.start()
        endpoint.wait_for(1)
        with pytest.raises(UnavailableError):
            fetch(client, request, seconds=0.3, most_bytes=10)
        assert holding.is_alive(), "it waited for the other one's deadline"
        may_end.set()
        holding.join()
