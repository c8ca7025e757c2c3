"""`keystage doctor` on a running installation: all is well there, and each protection that is taken away is named."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.operators.doctor.command import CHECKS, doctor
from config.settings import Settings
from core.storage.exposure import is_loopback, without_credentials
from tests.certificates import Authority
from tests.logs import logging_as_before
from tests.servers import redis_server
from tests.stack import RunningStack, running_stack

ROOT = Path(__file__).parents[2]
Doctor = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """An embedded stack."""
    with running_stack(tmp_path_factory.mktemp("doctor") / "data") as running:
        yield running


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A shell without settings, in a directory without a .env."""
    for name in [name for name in os.environ if name.startswith("KEYSTAGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with logging_as_before():
        yield


@pytest.fixture
def examine(stack: RunningStack, shell: None, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs the doctor on the stack; gives what each check found, and checks the exit code."""
    monkeypatch.setenv("KEYSTAGE_DATA", str(stack.data))
    return _run(monkeypatch)


@pytest.fixture
def examine_shell(stack: RunningStack, shell: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Doctor:
    """The same where this shell's settings name the stack's servers, so that they can be any."""
    monkeypatch.setenv("KEYSTAGE_DATA", str(tmp_path / "elsewhere"))
    for name in ("mongo_url", "redis_url", "ray_address"):
        monkeypatch.setenv(f"KEYSTAGE_{name.upper()}", stack.ready[name])
    monkeypatch.setitem(Settings.model_config, "secrets_dir", str(stack.data / "keys"))
    run = _run(monkeypatch)
    return lambda *options, **settings: run("--api-url", stack.api_url, *options, **settings)


def _run(monkeypatch: pytest.MonkeyPatch) -> Doctor:
    def run(*options: str, **settings: str) -> dict[str, dict[str, str]]:
        for name, value in settings.items():
            monkeypatch.setenv(f"KEYSTAGE_{name.upper()}", value)
        done = CliRunner().invoke(doctor, ["--json", *options])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        found = {row["check"]: row for row in json.loads(done.stdout)}
        assert done.exit_code == any(row["result"] == "fail" for row in found.values())
        return found

    return run


def results(found: dict[str, dict[str, str]], result: str) -> list[str]:
    """The checks that ended so."""
    return [name for name, row in found.items() if row["result"] == result]


def test_a_running_stack_is_well(examine: Doctor) -> None:
    found = examine()
    assert list(found) == [check.id for check in CHECKS]
    assert results(found, "fail") == []
    assert "this machine's own address" in found["mongo.access"]["seen"]
    assert all(row["line"] and row["seen"] for row in found.values())


def test_its_table_is_printed_and_the_exit_code_is_that_of_the_process(stack: RunningStack, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTAGE_")}
    told = {"PYTHONPATH": str(ROOT), "KEYSTAGE_DATA": str(stack.data)}
    servers = {f"KEYSTAGE_{name.upper()}": str(stack.ready[name]) for name in ("mongo_url", "redis_url", "ray_address")}
    # this shell's own settings, completed by the keys of the stack
    own = {"KEYSTAGE_DATA": "elsewhere", "KEYSTAGE_SECRETS_DIR": str(stack.data / "keys"), **servers}
    cases: list[tuple[dict[str, str], int, bytes, bytes]] = [
        ({}, 0, b"api.health", b"the stack that runs on"),
        # what this shell is told changes nothing about what the stack was told
        ({"KEYSTAGE_EGRESS_ALLOW_CIDRS": "0.0.0.0/0"}, 0, b"may reach: nothing", b"the stack that runs on"),
        ({**own, "KEYSTAGE_EGRESS_ALLOW_CIDRS": "0.0.0.0/0"}, 1, b"may reach 0.0.0.0/0", b"settings of this shell"),
        ({**own, "KEYSTAGE_MONGO_COMMAND_LOG": "c"}, 0, b"KEYSTAGE_MONGO_COMMAND_LOG is set", b"of this shell"),
        ({**own, "KEYSTAGE_MONGO_ULR": "m"}, 0, b"KEYSTAGE_MONGO_ULR (environment)", b"settings of this shell"),
    ]
    for more, code, said, whose in cases:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "doctor", "--api-url", stack.api_url],
            env=clean | told | more,
            cwd=tmp_path,
            capture_output=True,
        )
        assert done.returncode == code, done.stdout.decode() + done.stderr.decode()
        # a table breaks its lines where it must
        assert said.split()[0] in done.stdout
        assert whose in done.stderr


def test_only_what_is_not_well_is_shown_when_that_is_asked_for(
    stack: RunningStack, shell: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTAGE_DATA", str(stack.data))
    done = CliRunner().invoke(doctor, ["--problems", "--json"])
    assert {row["result"] for row in json.loads(done.stdout)} <= {"warn", "fail"}
    monkeypatch.setattr("cli.operators.doctor.command.CHECKS", (CHECKS[0],))
    assert CliRunner().invoke(doctor, ["--problems", "--json"]).stdout == "[]\n"
    assert CliRunner().invoke(doctor, ["--problems"]).stdout == "1 checks, no problem\n"


def test_a_key_that_only_the_stack_was_given_counts_as_set(
    shell: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path_factory.mktemp("given") / "data"
    told = {"KEYSTAGE_VAULT_KEYS": KEY, "KEYSTAGE_BROKER_URL": "redis://u:hidden@127.0.0.1:9/0"}
    with running_stack(data, told, "tests.integration.small_stack"):
        monkeypatch.setenv("KEYSTAGE_DATA", str(data))
        found = _run(monkeypatch)()
    assert found["keys.present"]["result"] == "ok"
    assert "only the stack holds KEYSTAGE_VAULT_KEYS" in found["keys.distinct"]["seen"]
    assert "KEYSTAGE_VAULT_KEYS" in found["secrets.source"]["seen"]
    # the broker that the stack uses is asked, without its password
    assert "the broker does not answer" in found["redis.access"]["seen"]
    # this small stack has no database: one sentence, not a traceback
    assert "MongoDB does not answer" in found["processes"]["seen"]
    assert "hidden" not in json.dumps(found)


KEY = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.mark.parametrize(
    ("taken", "named", "settings"),
    [
        ("keys of their own", "keys.distinct", {"vault_keys": KEY, "key_peppers": KEY}),
        ("a random key", "keys.distinct", {"vault_keys": "k1:" + "A" * 43}),
        ("the narrow egress", "egress", {"egress_allow_cidrs": "10.0.0.0/8,0.0.0.0/1"}),
        ("the guard of the metadata service", "egress", {"egress_allow_cidrs": "169.254.0.0/16"}),
        ("the loopback", "api.transport", {"api_host": "0.0.0.0"}),  # noqa: S104 - never bound
    ],
)
def test_a_protection_that_is_taken_away_is_named(
    examine_shell: Doctor, taken: str, named: str, settings: dict[str, str]
) -> None:
    found = examine_shell(**settings)
    assert results(found, "fail") == [named], taken
    assert found[named]["advice"]


def test_a_key_that_is_not_well_formed_is_named_and_not_shown(
    stack: RunningStack, shell: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTAGE_DATA", str(stack.data))
    monkeypatch.setenv("KEYSTAGE_VAULT_KEYS", "k1:not-a-key-at-all")
    done = CliRunner().invoke(doctor, [])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: KEYSTAGE_VAULT_KEYS: must read <id>:<32 bytes as urlsafe base64>\n"


@pytest.mark.parametrize(
    ("named", "settings"),
    [
        ("webhooks.retries", {"webhook_retry_schedule": "1,2"}),
        ("logs", {"log_level": "DEBUG"}),
        ("secrets.source", {"vault_keys": KEY}),
    ],
)
def test_what_may_be_on_purpose_is_a_warning(examine_shell: Doctor, named: str, settings: dict[str, str]) -> None:
    found = examine_shell(**settings)
    assert named in results(found, "warn")
    assert results(found, "fail") == []


def test_a_secret_file_that_others_may_read_is_named(
    examine_shell: Doctor, stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tmp_path / "shown"
    shutil.copytree(stack.data / "keys", shown)
    (shown / "keystage_qdrant_api_key").write_text("k")
    shown.chmod(0o755)
    monkeypatch.setitem(Settings.model_config, "secrets_dir", str(shown))
    assert results(examine_shell(), "fail") == []
    opened = [tmp_path, *tmp_path.parents]
    modes = {path: path.stat().st_mode for path in opened}
    try:
        for path in opened[:3]:
            path.chmod(modes[path] | 0o001)
        assert results(examine_shell(), "fail") == ["secrets.files"]
    finally:
        for path in opened[:3]:
            path.chmod(modes[path])


def test_a_redis_that_answers_anybody_over_the_network_is_named(examine_shell: Doctor, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        # this spelling reaches the same server, and the doctor does not take it for the machine itself
        found = examine_shell(redis_url=server.url.replace("127.0.0.1", "127.1"))
    assert results(found, "fail") == ["redis.access"]
    assert "without credentials" in found["redis.access"]["seen"]
    assert "backends.transport" in results(found, "warn")


def test_what_does_not_answer_is_named(examine_shell: Doctor) -> None:
    found = examine_shell("--api-url", "http://127.0.0.1:9", redis_url="redis://127.0.0.1:9/0")
    assert results(found, "fail") == ["api.health", "redis.access"]


def test_a_certificate_is_watched(examine_shell: Doctor, tmp_path: Path) -> None:
    made = Authority(tmp_path).issue("api")
    made.key.chmod(0o600)
    found = examine_shell(api_tls_cert_file=str(made.cert), api_tls_key_file=str(made.key))
    assert "certificates" in results(found, "warn")


def test_the_first_admin_key_is_a_warning(examine: Doctor, stack: RunningStack, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTAGE_")}
    told = {"PYTHONPATH": str(ROOT), "KEYSTAGE_DATA": str(stack.data)}
    command = [sys.executable, "-m", "cli.main", "org", "create", "--name", "A", "--email", "a@example.com"]
    subprocess.run(command, env=clean | told, cwd=tmp_path, check=True, capture_output=True)
    found = examine()
    assert "keys.first" in results(found, "warn")
    assert "1 of 1 organizations" in found["keys.first"]["seen"]


def test_a_stack_that_speaks_tls_is_well(examine: Doctor, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory)
    ours = authority.issue("ours")
    ours.key.chmod(0o600)
    files = {
        "api_tls_cert_file": ours.cert, "api_tls_key_file": ours.key,
        "ray_tls_ca_file": authority.certificate, "ray_tls_cert_file": ours.cert, "ray_tls_key_file": ours.key,
    }  # fmt: skip
    settings = {name: str(path) for name, path in files.items()}
    told = {f"KEYSTAGE_{name.upper()}": path for name, path in settings.items()}
    with running_stack(directory / "data", told) as running:
        found = examine(data=str(running.data), **settings)
        assert results(found, "fail") == []
        assert found["api.transport"]["seen"] == "the API speaks TLS"


def test_every_line_that_our_processes_logged_says_what_when_how_grave_and_who(stack: RunningStack) -> None:
    for process in ("api", "worker", "dispatcher", "sweeper"):
        for text in (stack.data / "logs" / f"{process}.log").read_text().splitlines():
            line: dict[str, Any] = json.loads(text)
            assert {"event", "level", "timestamp", "process"} <= line.keys(), line
            assert line["process"] == process


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("mongodb://u:p@127.0.0.1:1,[::1]:2/k?x=1", True),
        ("mongodb://127.0.0.1:1,db:2/k", False),
        ("redis://localhost:6379/0", True),
        ("rediss://u:p@10.0.0.1:6379/0", False),
        ("127.0.0.1:6380", True),
        ("0.0.0.0", False),  # noqa: S104 - never bound
    ],
)
def test_what_counts_as_this_machine(url: str, local: bool) -> None:
    assert is_loopback(url) is local
    assert "p@" not in without_credentials(url)
