"""Each connection of ours over real TLS: the right CA is believed, another is not, and a client proves itself."""

import asyncio
import gc
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pymongo
import pytest
from kombu.exceptions import OperationalError
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from cli.stack.readiness import http_answers
from config.settings import Settings
from config.tls import TlsFiles
from core.errors import UnavailableError
from core.jobs.doorbell import Doorbell
from core.jobs.doorbell_message import Rung
from core.jobs.lane import Lane
from core.storage.mongo import connect, connect_async
from core.storage.redis import DELIVERIES_CHANNEL, DeliverySignal, connect_redis
from core.storage.vectors.filters import EVERYTHING
from core.storage.vectors.server import connect_qdrant
from tests.certificates import Authority, Identity
from tests.ray_cluster import ray_head
from tests.servers import free_port, mongo_server, own_database, redis_server
from tests.stack import wait_until
from tests.tls_proxy import server_context, tls_in_front_of
from workers.listener import Listener


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificates are."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(directory: Path) -> Authority:
    """The CA that everybody here believes."""
    return Authority(directory)


@pytest.fixture(scope="module")
def stranger(directory: Path) -> Authority:
    """A CA that nobody here believes."""
    return Authority(directory, "stranger")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Identity:
    """A server's certificate."""
    return authority.issue("server")


@pytest.fixture(scope="module")
def client(authority: Authority) -> Identity:
    """A client's certificate."""
    return authority.issue("client")


# --- MongoDB: SecantusDB speaks TLS, asks for client certificates and for SCRAM itself


@pytest.fixture(scope="module")
def guarded_mongo(
    directory: Path, authority: Authority, server: Identity, client: Identity
) -> Iterator[tuple[str, TlsFiles]]:
    """A database with a user, over mutual TLS; the URL names the user."""
    data = directory / "mongo"
    with mongo_server(data) as open_server, MongoClient[dict[str, Any]](open_server.url) as admin:
        admin["admin"].command("createUser", "keystage", pwd="pa55word", roles=["root"])
    options = [
        "--auth", "--tls-require-client-cert",
        "--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key),
        "--tls-ca-file", str(authority.certificate),
    ]  # fmt: skip
    files: dict[str, Any] = {
        "tls": True,
        "tlsCAFile": str(authority.certificate),
        "tlsCertificateKeyFile": str(client.both),
    }
    with mongo_server(data, more_options=options, **files) as running:
        url = running.url.replace("//", "//keystage:pa55word@") + "&authSource=admin"
        yield url, TlsFiles(authority.certificate, client.both, client.both)


def test_mongo_over_mutual_tls_with_a_user(guarded_mongo: tuple[str, TlsFiles]) -> None:
    url, files = guarded_mongo
    database = connect(url, files)
    with closing(database.client):
        database["things"].insert_one({"_id": "a"})
        assert database["things"].count_documents({"_id": "a"}) == 1

    async def count() -> int:
        own = connect_async(url, files)
        try:
            return await own["things"].count_documents({"_id": "a"})
        finally:
            await own.client.close()

    assert asyncio.run(count()) == 1


def test_mongo_refuses_whoever_lacks_one_of_it(
    guarded_mongo: tuple[str, TlsFiles], stranger: Authority, authority: Authority
) -> None:
    url, files = guarded_mongo
    for wrong in (TlsFiles(), TlsFiles(authority.certificate), TlsFiles(stranger.certificate, files.cert_file)):
        with closing(connect(url, wrong).client) as refused, pytest.raises(PyMongoError), pymongo.timeout(1.5):
            refused.admin.command("dbStats")
    nobody = url.replace("keystage:pa55word@", "").replace("authSource=admin&", "")
    with closing(connect(nobody, files).client) as unnamed, pytest.raises(OperationFailure):
        unnamed["keystage"]["things"].count_documents({})


# --- Redis, and Celery's broker on it: the real server behind TLS, with a user of its own


@pytest.fixture(scope="module")
def guarded_redis(directory: Path, authority: Authority, server: Identity, client: Identity) -> Iterator[str]:
    """A rediss:// URL with a user; the default user is off."""
    data = directory / "redis"
    data.mkdir()
    with redis_server(data) as plain:
        with Redis.from_url(plain.url) as admin:
            admin.execute_command("ACL", "SETUSER", "keystage", "on", ">pa55word", "~*", "&*", "+@all")
            admin.execute_command("ACL", "SETUSER", "default", "off")
        port = int(plain.url.rpartition(":")[2].partition("/")[0])
        with tls_in_front_of(port, server_context(server, authority.certificate)) as secure:
            yield f"rediss://keystage:pa55word@127.0.0.1:{secure}/0"


@pytest.fixture(scope="module")
def redis_files(authority: Authority, client: Identity) -> TlsFiles:
    """What our clients of Redis show and believe."""
    return TlsFiles(authority.certificate, client.cert, client.key)


def test_redis_over_mutual_tls_with_a_user(guarded_redis: str, redis_files: TlsFiles) -> None:
    with closing(connect_redis(guarded_redis, redis_files)) as redis:
        assert redis.ping()

    async def is_signalled() -> bool:
        signal = DeliverySignal(guarded_redis, redis_files)
        await signal.wait(0.01)
        with closing(connect_redis(guarded_redis, redis_files)) as redis:
            heard = redis.publish(DELIVERIES_CHANNEL, "")
        await signal.close()
        return heard == 1

    assert asyncio.run(is_signalled())


def test_redis_is_not_believed_without_its_ca(guarded_redis: str, redis_files: TlsFiles, stranger: Authority) -> None:
    for wrong in (TlsFiles(), TlsFiles(stranger.certificate, redis_files.cert_file, redis_files.key_file)):
        with closing(connect_redis(guarded_redis, wrong)) as redis, pytest.raises(RedisConnectionError, match="CERT"):
            redis.ping()
        assert Doorbell(guarded_redis, wrong).ring(Lane.BATCH, "task_a", "ns_a") is False


def test_redis_refuses_a_client_without_a_certificate(guarded_redis: str, authority: Authority) -> None:
    with closing(connect_redis(guarded_redis, TlsFiles(authority.certificate))) as redis:  # noqa: SIM117
        with pytest.raises(RedisConnectionError):
            redis.ping()


def test_a_doorbell_rung_over_tls_reaches_celery_over_tls(guarded_redis: str, redis_files: TlsFiles) -> None:
    settings = Settings(
        _env_file=None,
        redis_url=guarded_redis,
        redis_tls_ca_file=redis_files.ca_file,
        redis_tls_cert_file=redis_files.cert_file,
        redis_tls_key_file=redis_files.key_file,
    )
    doorbell = Doorbell(settings.broker, settings.redis_tls)
    assert doorbell.ring(Lane.BATCH, "task_over_tls", "ns_a")
    assert doorbell.waiting() == 1
    heard: list[Rung] = []
    listener = Listener(settings, heard.append)
    with (
        listener.app.connection_for_read() as connection,
        connection.Consumer(listener.app.conf.task_queues, on_message=listener.take),
    ):
        connection.drain_events(timeout=10)
    assert heard == [Rung(Lane.BATCH, "task_over_tls")]
    doorbell.close()


def test_celery_does_not_believe_a_broker_without_its_ca(guarded_redis: str) -> None:
    settings = Settings(_env_file=None, redis_url=guarded_redis)
    with Listener(settings, print).app.connection_for_read() as connection:  # noqa: SIM117
        with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
            connection.ensure_connection(max_retries=1, timeout=2)


# --- Qdrant: an HTTPS server that asks for the key as Qdrant does


@contextmanager
def guarded_qdrant(context: ssl.SSLContext, key: str) -> Iterator[str]:
    """A server that counts 7 points in any collection, and answers 401 without the key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            result = {"points": [{"id": 7, "payload": {}}], "exists": True}
            body = json.dumps({"result": result, "status": "ok", "time": 0, "version": "1.20.0", "title": "q"}).encode()
            self.send_response(200 if self.headers.get("api-key") == key else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # the handshake that the client broke off is what the test is about
            pass

    httpd = Quiet(("127.0.0.1", 0), Handler)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"https://127.0.0.1:{httpd.server_address[1]}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


@pytest.mark.filterwarnings("ignore:Failed to obtain server version")
def test_qdrant_over_tls_with_its_key(authority: Authority, stranger: Authority, server: Identity) -> None:
    with guarded_qdrant(server_context(server), "the-key") as url:
        with closing(connect_qdrant(url, "the-key", authority.certificate)) as store:
            assert [hit.id for hit in store.scroll("ns_a", EVERYTHING, 1)] == ["7"]
        with closing(connect_qdrant(url, "the-key", stranger.certificate)) as misled:  # noqa: SIM117
            with pytest.raises(UnavailableError):
                misled.scroll("ns_a", EVERYTHING, 1)
        with closing(connect_qdrant(url, "another", authority.certificate)) as keyless:  # noqa: SIM117
            with pytest.raises(UnavailableError):
                keyless.scroll("ns_a", EVERYTHING, 1)
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        # what the clients under test leave of a broken handshake must not fail whichever test comes next
        gc.collect()


# --- Ray

_ATTACHES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from config.settings import load_settings
from pipelines.runner import Runner
runner = Runner(load_settings())
with ThreadPoolExecutor(1) as pool:
    pool.submit(runner.attach).result()
    pool.submit(runner.self_test).result()
import ray
ray.shutdown()
print("worked")
"""


def test_ray_over_mutual_tls(directory: Path, authority: Authority, server: Identity, client: Identity) -> None:
    files = {"CA": authority.certificate, "CERT": server.cert, "KEY": server.key}
    settings = {f"KEYSTAGE_RAY_TLS_{name}_FILE": str(path) for name, path in files.items()}
    given: dict[str, Any] = {f"ray_tls_{name.lower()}_file": path for name, path in files.items()}
    of_the_head = Settings(_env_file=None, **given).ray_tls_environment
    with ray_head(more_environment=of_the_head) as head:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("KEYSTAGE_", "RAY_"))}
        told = {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "KEYSTAGE_RAY_ADDRESS": head.address,
            "KEYSTAGE_RAY_AUTH_TOKEN": head.token,
            "KEYSTAGE_DATA": str(directory / "ray"),
        }
        done = subprocess.run(
            [sys.executable, "-c", _ATTACHES], env=clean | told | settings, capture_output=True, text=True, timeout=120
        )
        assert "worked" in done.stdout, done.stderr[-2000:]
        trust = ssl.create_default_context(cafile=str(authority.certificate))
        proven = ssl.create_default_context(cafile=str(authority.certificate))
        proven.load_cert_chain(client.cert, client.key)
        assert _answers_http2(head.address, proven)
        assert not _answers_http2(head.address, trust)
        assert not _answers_http2(head.address, None)


def _answers_http2(address: str, context: ssl.SSLContext | None) -> bool:
    """Whether a server sends HTTP/2 settings to whoever has said hello.

    TLS 1.3 tells of a missing certificate after the handshake, and some servers by closing the connection.
    """
    host, _, port = address.rpartition(":")
    with closing(socket.create_connection((host, int(port)), 5)) as connection:
        try:
            if context:
                context.set_alpn_protocols(["h2"])
                connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            answer = connection.recv(64)
        except OSError:
            return False
        finally:
            connection.close()
    return answer[3:4] == b"\4"


# --- the API


@contextmanager
def api_process(settings: dict[str, str], directory: Path) -> Iterator[int]:
    """`python -m api.serve` with these settings; its port."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTAGE_")}
    environment = clean | settings | {"KEYSTAGE_API_PORT": str(port)}
    with (directory / "api.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "api.serve"], env=environment, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _settings(mongo_url: str, redis_url: str, directory: Path, server: Identity) -> dict[str, str]:
    key = "k1:" + "A" * 43
    return {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "KEYSTAGE_DATA": str(directory),
        "KEYSTAGE_MONGO_URL": own_database(mongo_url, "tls"),
        "KEYSTAGE_REDIS_URL": redis_url,
        "KEYSTAGE_VAULT_KEYS": key,
        "KEYSTAGE_KEY_PEPPERS": key,
        "KEYSTAGE_AUDIT_KEYS": key,
        "KEYSTAGE_API_TLS_CERT_FILE": str(server.cert),
        "KEYSTAGE_API_TLS_KEY_FILE": str(server.key),
    }


def _status(port: int, context: ssl.SSLContext) -> int:
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)) as connection:
        connection.request("GET", "/v1/namespaces/list")
        return connection.getresponse().status


def test_the_api_speaks_tls_and_nothing_else(
    mongo_url: str, redis_url: str, directory: Path, authority: Authority, server: Identity
) -> None:
    with api_process(_settings(mongo_url, redis_url, directory, server), directory) as port:
        address = f"127.0.0.1:{port}"
        wait_until(lambda: http_answers(address, "/v1/health/liveness", server.cert), 60, "the API")
        assert _status(port, ssl.create_default_context(cafile=str(authority.certificate))) in (401, 404, 405)
        with pytest.raises(ssl.SSLCertVerificationError):
            _status(port, ssl.create_default_context())
        assert not http_answers(address, "/v1/health/liveness")


def test_the_api_refuses_a_client_without_a_certificate(
    mongo_url: str, redis_url: str, directory: Path, authority: Authority, server: Identity, client: Identity
) -> None:
    asking = {"KEYSTAGE_API_TLS_CLIENT_CA_FILE": str(authority.certificate)}
    with api_process(_settings(mongo_url, redis_url, directory, server) | asking, directory) as port:
        trust = ssl.create_default_context(cafile=str(authority.certificate))
        shown = ssl.create_default_context(cafile=str(authority.certificate))
        shown.load_cert_chain(client.cert, client.key)

        def answers() -> bool:
            try:
                return _status(port, shown) < 500
            except OSError:
                return False

        wait_until(answers, 60, "the API")
        with pytest.raises((OSError, http.client.HTTPException)):
            _status(port, trust)
