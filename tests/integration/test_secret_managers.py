"""Settings from the secret managers, over real HTTP: moto's server plays AWS; small servers play Vault and Google.

The Vault server obeys the published protocol of the kv engine, version 2, and of three ways to log in; Google's real
client talks to its server, and gets an access token from it first.
"""

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from moto.server import ThreadedMotoServer
from pydantic_settings import SettingsError

from config.settings import Settings
from tests.away_server import Conduct, Reply, away_server
from tests.certificates import Authority
from tests.servers import free_port
from tests.tls_proxy import server_context

SECRET = "k1:" + "from-the-manager".ljust(43, "A")
VALUES = {"KEYSTAGE_VAULT_KEYS": SECRET, "keystage_qdrant_api_key": "qdrant-from-the-manager", "OTHER": "ignored"}
HELD = {"data": {"data": VALUES, "metadata": {"version": 1}}}


@dataclass
class Played:
    """A local server: what it answers, and what it was asked."""

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


@contextmanager
def playing(context: ssl.SSLContext | None = None) -> Iterator[Played]:
    """A server on a free port that answers what the test says, by method and path; over TLS with a context."""
    played = Played()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            played.asked.append(
                (f"{self.command} {path}", {name.title(): value for name, value in self.headers.items()}, body.decode())
            )
            status, content = played.answers.get((self.command, path), (404, {"errors": []}))
            encoded = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - names that the standard library asks for

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # a client that does not believe the server breaks the handshake off
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    played.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield played
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def from_manager(patch: pytest.MonkeyPatch, origin: str, **settings: str) -> None:
    """Set the environment that names a manager."""
    patch.setenv("KEYSTAGE_SECRETS_FROM", origin)
    for name, value in settings.items():
        patch.setenv(f"KEYSTAGE_SECRETS_{name.upper()}", value)


@pytest.fixture
def vault() -> Iterator[Played]:
    """A Vault that holds the values at secret/keystage."""
    with playing() as played:
        played.answers["GET", "/v1/secret/data/keystage"] = (200, HELD)
        for method in ("kubernetes", "approle"):
            played.answers["POST", f"/v1/auth/{method}/login"] = (200, {"auth": {"client_token": f"by-{method}"}})
        yield played


def test_vault_over_tls_is_believed_by_its_ca_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    with playing(server_context(authority.issue("vault"))) as played:
        played.answers["GET", "/v1/secret/data/keystage"] = (200, HELD)
        from_manager(monkeypatch, "vault", address=played.url, token="t", ca_file=str(authority.certificate))
        read_and_check()
        monkeypatch.setenv("KEYSTAGE_SECRETS_CA_FILE", str(stranger.certificate))
        with pytest.raises(SettingsError, match=r"gave no settings \(SSLError\)"):
            Settings(_env_file=None)


def read_and_check() -> Settings:
    """The settings; those that the manager holds must have arrived."""
    settings = Settings(_env_file=None)
    assert [key.get_secret_value() for key in settings.vault_keys] == [SECRET]
    assert settings.qdrant_api_key
    assert settings.qdrant_api_key.get_secret_value() == "qdrant-from-the-manager"
    return settings


def test_vault_by_token(vault: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    from_manager(monkeypatch, "vault", address=vault.url, token="the-token")
    read_and_check()
    assert vault.asked[-1][1]["X-Vault-Token"] == "the-token"


def test_vault_by_a_file_with_a_token(vault: Played, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("filed-token\n")
    from_manager(monkeypatch, "vault", address=vault.url, token_file=str(tmp_path / "token"))
    read_and_check()
    assert vault.asked[-1][1]["X-Vault-Token"] == "filed-token"


def test_vault_by_kubernetes(vault: Played, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text("service-account")
    from_manager(monkeypatch, "vault", address=vault.url, role="keystage", jwt_file=str(tmp_path / "jwt"))
    read_and_check()
    login, read = vault.asked
    assert json.loads(login[2]) == {"role": "keystage", "jwt": "service-account"}
    assert read[1]["X-Vault-Token"] == "by-kubernetes"


def test_vault_by_approle(vault: Played, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("secret-id")
    from_manager(monkeypatch, "vault", address=vault.url, role_id="r", role_secret_file=str(tmp_path / "id"))
    read_and_check()
    login, read = vault.asked
    assert json.loads(login[2]) == {"role_id": "r", "secret_id": "secret-id"}
    assert read[1]["X-Vault-Token"] == "by-approle"


def test_environment_then_env_file_then_files_then_manager_then_default(
    vault: Played, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order = ("kek_transit_mount", "kek_transit_key", "kek_aws_key", "kek_aws_region", "log_format")
    vault.answers["GET", "/v1/secret/data/keystage"] = (
        200,
        {"data": {"data": {f"KEYSTAGE_{name.upper()}": "manager" for name in order[:4]}}},
    )
    from_manager(monkeypatch, "vault", address=vault.url, token="t")
    files = tmp_path / "files"
    files.mkdir()
    for name in order[:3]:
        (files / f"keystage_{name}").write_text("file")
    dotenv = tmp_path / ".env"
    dotenv.write_text("".join(f"KEYSTAGE_{name.upper()}=dotenv\n" for name in order[:2]))
    monkeypatch.setenv("KEYSTAGE_KEK_TRANSIT_MOUNT", "environment")
    settings = Settings(_env_file=dotenv, _secrets_dir=files)
    assert [getattr(settings, name) for name in order] == ["environment", "dotenv", "file", "manager", "auto"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"token": "t"}, "needs KEYSTAGE_SECRETS_ADDRESS"),
        ({"address": "ADDRESS"}, "say how to log in: KEYSTAGE_SECRETS_TOKEN"),
        ({"address": "ADDRESS", "token_file": "/gone"}, "KEYSTAGE_SECRETS_TOKEN_FILE: No such file"),
        ({"address": "ADDRESS", "token": "t-never-shown", "name": "elsewhere"}, "gave no settings (InvalidPath)"),
        ({"address": "http://127.0.0.1:9", "token": "t-never-shown"}, "gave no settings (ConnectionError)"),
    ],
)
def test_what_keeps_vault_from_answering_is_one_sentence(
    vault: Played, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    given = {name: vault.url if value == "ADDRESS" else value for name, value in settings.items()}
    from_manager(monkeypatch, "vault", **given)
    with pytest.raises(SettingsError) as caught:
        Settings(_env_file=None)
    assert str(caught.value).startswith("KEYSTAGE_SECRETS_FROM=vault")
    assert said in str(caught.value)
    assert "never-shown" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("origin", ["vault", "aws", "gcp"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    from_manager(monkeypatch, origin, address="http://127.0.0.1:9", token="t", project="p")
    for module in ("hvac", "boto3", "google.auth", "google.cloud.secretmanager"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    monkeypatch.setattr("pydantic_settings.sources.providers.gcp.SecretManagerServiceClient", None)
    with pytest.raises(SettingsError, match=f"^KEYSTAGE_SECRETS_FROM={origin} needs the extra `{origin}`"):
        Settings(_env_file=None)


@pytest.mark.parametrize("origin", ["vault", "aws", "gcp"])
@pytest.mark.parametrize("conduct", [Conduct.SILENT, Conduct.TRICKLES])
def test_a_manager_that_does_not_answer_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: str, conduct: Conduct
) -> None:
    monkeypatch.setattr("config.secret_managers._WHOLE_SECONDS", 1.0)
    monkeypatch.setattr("config.secret_managers._TIMEOUT_SECONDS", 3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with away_server(lambda _: Reply(200, b"{}")) as manager:
        _give_google_credentials(monkeypatch, tmp_path, f"{manager.url}/token")
        manager.trickle_seconds = 0.5
        manager.be(conduct)
        from_manager(monkeypatch, origin, address=manager.url, region="eu-central-1", token="t", project="p")
        outcome: list[BaseException] = []

        def start() -> None:
            try:
                Settings(_env_file=None)
            except SettingsError as error:
                outcome.append(error)

        starting = Thread(target=start, daemon=True)
        starting.start()
        starting.join(20)
    assert "gave no settings (TimeoutError)" in str(outcome[0])


def test_an_unknown_manager_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from_manager(monkeypatch, "elsewhere")
    with pytest.raises(SettingsError, match="KEYSTAGE_SECRETS_FROM"):
        Settings(_env_file=None)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an AWS Secrets Manager that holds the values as `keystage`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    # an SDK that asks the machine's own address for credentials would wait for it
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{port}"
    client = boto3.client("secretsmanager", region_name="eu-central-1", endpoint_url=address)
    client.create_secret(Name="keystage", SecretString=json.dumps(VALUES))
    client.close()
    try:
        yield address
    finally:
        server.stop()


def test_aws(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from_manager(monkeypatch, "aws", address=aws, region="eu-central-1")
    read_and_check()
    monkeypatch.setenv("KEYSTAGE_SECRETS_NAME", "elsewhere")
    with pytest.raises(SettingsError, match=r"FROM=aws: .* gave no settings \(ResourceNotFoundException\)"):
        Settings(_env_file=None)
    monkeypatch.setenv("KEYSTAGE_SECRETS_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(SettingsError, match=r"FROM=aws: .* gave no settings \(EndpointConnectionError\)"):
        Settings(_env_file=None)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Played]:
    """A Google Secret Manager with one secret for each value, and credentials for it."""
    with playing() as played:
        _give_google_credentials(monkeypatch, tmp_path, f"{played.url}/token")
        played.answers["POST", "/token"] = (200, {"access_token": "an-access-token", "expires_in": 3600})
        listed = [{"name": f"projects/p/secrets/{name}"} for name in VALUES]
        played.answers["GET", "/v1/projects/p/secrets"] = (200, {"secrets": listed})
        for name, value in VALUES.items():
            data = {"payload": {"data": base64.b64encode(value.encode()).decode()}}
            played.answers["GET", f"/v1/projects/p/secrets/{name}/versions/latest:access"] = (200, data)
        yield played


def _give_google_credentials(patch: pytest.MonkeyPatch, directory: Path, token_uri: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key": pem.decode(),
        "client_email": "keystage@p.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    (directory / "account.json").write_text(json.dumps(account))
    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(directory / "account.json"))


def test_google(google: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    from_manager(monkeypatch, "gcp", address=google.url, project="p")
    read_and_check()
    assert all(headers["Authorization"].startswith("Bearer ") for what, headers, _ in google.asked if "/v1/" in what)
    assert not any("OTHER" in what for what, _, _ in google.asked)


def test_a_google_secret_that_is_listed_and_withheld_is_an_error(
    google: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.answers["GET", "/v1/projects/p/secrets/KEYSTAGE_VAULT_KEYS/versions/latest:access"] = (403, {"error": {}})
    from_manager(monkeypatch, "gcp", address=google.url, project="p")
    with pytest.raises(SettingsError, match="FROM=gcp: the secret KEYSTAGE_VAULT_KEYS is listed, but may not be read"):
        Settings(_env_file=None)
