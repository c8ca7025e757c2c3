"""`keystage up` from outside: what it starts, restarts and resumes, and that it leaves nothing behind."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from cli.stack.locate import stack_settings
from cli.stack.readiness import StackDatabase
from config.settings import Settings
from core.bootstrap import build_services
from core.tenancy.permissions import Permission
from tests.security_page import LLM_STAGE
from tests.stack import RunningStack, processes_of, running_stack, start_up, stderr_file, stdout_file, wait_until
from tests.tenants import new_key

_SMALL = "tests.integration.small_stack"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def small(data: Path) -> Iterator[RunningStack]:
    with running_stack(data, program=_SMALL) as stack:
        yield stack


def test_the_ready_line_is_the_stack_file_and_names_what_answers(small: RunningStack) -> None:
    assert list(small.ready) == ["ready", "api_url", "dashboard_url", "mongo_url", "redis_url", "ray_address"]
    assert small.ready["ready"] is True
    assert small.ready["dashboard_url"] is None
    assert json.loads((small.data / "stack.json").read_text()) == small.ready
    assert _is_ready(small)


def test_keys_are_made_once_and_only_their_owner_may_read_them(small: RunningStack) -> None:
    files = sorted((small.data / "keys").iterdir())
    assert [file.name for file in files] == [
        "keystage_audit_keys",
        "keystage_audit_verify_keys",
        "keystage_key_peppers",
        "keystage_ray_auth_token",
        "keystage_vault_keys",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((small.data / "keys").stat().st_mode) == 0o700
    before = [file.read_text() for file in files]
    small.stop()
    with running_stack(small.data, program=_SMALL):
        assert [file.read_text() for file in files] == before


def test_a_killed_server_comes_back_at_its_address_with_its_data(small: RunningStack) -> None:
    with Redis.from_url(small.ready["redis_url"]) as redis:
        redis.set("kept", "yes")
    killed = small.kill("redis")
    small.wait_for_restart("redis", killed)
    wait_until(lambda: _redis_value(small, "kept") == b"yes", 20, "redis to have its data back")
    assert small.restarts("redis") == 1
    crashes = [line for line in _events(small) if line["event"] == "service.crashed"]
    assert [(line["service"], line["exit_code"]) for line in crashes] == [("redis", -signal.SIGKILL)]


def test_a_service_that_keeps_crashing_is_restarted_ever_more_slowly(small: RunningStack) -> None:
    killed = small.kill("api")
    for _ in range(3):
        again = small.wait_for_restart("api", killed)
        os.kill(again, signal.SIGKILL)
        killed = again
    small.wait_for_restart("api", killed)
    waits = [line["restart_in_seconds"] for line in _events(small) if line["event"] == "service.crashed"]
    assert waits == [0.2, 0.4, 0.8, 1.6]


def test_what_a_crashed_service_left_running_is_gone_before_it_starts_again(small: RunningStack) -> None:
    children = psutil.Process(small.pid("worker")).children()
    assert len(children) == 1
    killed = small.kill("worker")
    small.wait_for_restart("worker", killed)
    assert not children[0].is_running()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_ends_everything_and_the_stack_file_goes(small: RunningStack, number: signal.Signals) -> None:
    assert small.stop(number) == 0
    assert not (small.data / "stack.json").exists()
    assert not (small.data / "ray.json").exists()
    assert json.loads((small.data / "processes.json").read_text()) == {}


def test_ctrl_c_in_the_foreground_group_does_not_reach_the_children(small: RunningStack) -> None:
    groups = {os.getpgid(small.pid(name)) for name in ("redis", "api", "worker")}
    assert os.getpgid(small.process.pid) not in groups
    assert groups == {small.pid(name) for name in ("redis", "api", "worker")}


def test_a_process_that_ignores_sigterm_is_killed_and_reported(data: Path) -> None:
    with running_stack(data, {"SMALL_STACK_WORKER": "stubborn"}, _SMALL) as stack:
        log = data / "logs" / "worker.log"
        wait_until(lambda: "stubborn" in log.read_text(), 10, "the worker to ignore SIGTERM")
        pid = stack.pid("worker")
        assert stack.stop() == 0
        killed = [line for line in _events(stack) if line["event"] == "service.killed"]
        assert [(line["service"], line["pids"]) for line in killed] == [("worker", [pid])]


def test_a_killed_supervisor_takes_its_children_along_or_the_next_start_ends_them(data: Path) -> None:
    with running_stack(data, {"SMALL_STACK_WORKER": "stubborn"}, _SMALL) as stack:
        log = data / "logs" / "worker.log"
        wait_until(lambda: "stubborn" in log.read_text(), 10, "the worker to ignore SIGTERM")
        stubborn = psutil.Process(stack.pid("worker"))
        others = [psutil.Process(stack.pid(name)) for name in ("redis", "api")]
        os.kill(stack.process.pid, signal.SIGKILL)
        stack.process.wait()
        wait_until(lambda: not any(each.is_running() for each in others), 20, "the kernel to end the children")
        assert stubborn.is_running()
        with running_stack(data, program=_SMALL) as second:
            assert not stubborn.is_running()
            assert "stack.orphans_ended" in second.log()


def test_a_second_start_says_who_runs_and_exits_with_2(small: RunningStack) -> None:
    assert _ended(small.data) == (2, "")
    assert f"process {small.process.pid}, its API is {small.api_url}" in small.log()
    assert small.process.poll() is None


def test_a_service_that_ends_while_starting_fails_the_start_with_its_last_words(data: Path) -> None:
    assert _ended(data, {"SMALL_STACK_WORKER": "broken"}) == (1, "")
    said = stderr_file(data).read_text()
    assert "worker ended with 3" in said
    assert "no such planet" in said
    assert not processes_of(data)


def test_a_data_directory_that_cannot_be_made_is_a_clear_error(data: Path) -> None:
    data.write_text("a file")
    assert _ended(data) == (1, "")
    assert f"{data} cannot hold the stack's data" in stderr_file(data).read_text()


def test_an_asked_port_that_is_taken_is_a_clear_error(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert _ended(data, None, "--port", str(port)) == (1, "")
    said = stderr_file(data).read_text()
    assert f"port {port} (api) is in use by another program, and it was asked for" in said
    assert not processes_of(data)


def test_settings_of_the_stack_lie_beside_its_addresses_while_it_runs(data: Path) -> None:
    told = {"KEYSTAGE_API_THREADS": "3", "KEYSTAGE_OPENAI_API_KEY": "sk-not-to-be-seen", "KEYSTAGE_MONGO_ULR": "m"}
    with running_stack(data, told, _SMALL) as stack:
        text = (data / "settings.json").read_text()
        assert stat.S_IMODE((data / "settings.json").stat().st_mode) == 0o600
        shown = _settings_command(stack, KEYSTAGE_API_THREADS="5")
        rows = {row["setting"]: row for row in json.loads(shown.stdout)}
        stack.stop()
    assert "not-to-be-seen" not in text
    assert rows["KEYSTAGE_API_THREADS"] == {"setting": "KEYSTAGE_API_THREADS", "value": 3, "from": "environment"}
    assert rows["KEYSTAGE_REDIS_URL"]["value"] == stack.ready["redis_url"]
    assert rows["KEYSTAGE_OPENAI_API_KEY"]["value"] == "set, not shown"
    assert set(rows) >= {"KEYSTAGE_VAULT_KEYS", "KEYSTAGE_DATA"}
    assert all(row["from"] != "default" for row in rows.values())
    assert f"the stack that runs on {data} (process {stack.process.pid})" in shown.stderr
    assert "KEYSTAGE_MONGO_ULR (environment) is no setting: did you mean KEYSTAGE_MONGO_URL?" in shown.stderr
    assert "this shell sets KEYSTAGE_API_THREADS otherwise than the stack" in shown.stderr
    assert not (data / "settings.json").exists()
    assert "settings of this shell, not of a stack" in _settings_command(stack).stderr


def _settings_command(stack: RunningStack, **more: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTAGE_")}
    told = {"PYTHONPATH": str(Path(__file__).parents[2]), "KEYSTAGE_DATA": str(stack.data)}
    command = [sys.executable, "-m", "cli.main", "settings", "--changed", "--json"]
    return subprocess.run(
        command, env=clean | told | more, cwd=stack.data.parent, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_start_ends_everything_in_order(data: Path, number: signal.Signals) -> None:
    process = start_up(data, {"SMALL_STACK_WORKER": "silent"}, _SMALL)
    wait_until(lambda: (data / "logs" / "worker.log").exists(), 60, "the worker to be started")
    process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert not processes_of(data)
    assert stdout_file(data).read_text() == ""
    assert "Traceback" not in stderr_file(data).read_text()
    assert not (data / "settings.json").exists()


def test_ctrl_c_again_does_not_wait_for_a_process_that_will_not_end(data: Path) -> None:
    with running_stack(data, {"SMALL_STACK_WORKER": "stubborn", "SMALL_STACK_PATIENCE": "3600"}, _SMALL) as stack:
        log = data / "logs" / "worker.log"
        wait_until(lambda: "stubborn" in log.read_text(), 10, "the worker to ignore SIGTERM")
        stack.process.send_signal(signal.SIGINT)
        wait_until(lambda: "api" in _stopped(stack), 60, "the API to be stopped")
        time.sleep(0.6)
        assert stack.process.poll() is None
        assert stack.stop(signal.SIGINT) == 0


def _stopped(stack: RunningStack) -> list[object]:
    return [line["service"] for line in _events(stack) if line["event"] == "service.stopped"]


@pytest.mark.parametrize(
    ("name", "url", "shown"),
    [
        (
            "MONGO_URL",
            "mongodb://u:hidden@127.0.0.1:9,127.0.0.1:7/keystage",
            "mongodb://u:***@127.0.0.1:9,127.0.0.1:7/k",
        ),
        ("REDIS_URL", "redis://:hidden@127.0.0.1:9/0", "redis://:***@127.0.0.1:9/0"),
        ("RAY_ADDRESS", "127.0.0.1:9", "127.0.0.1:9"),
    ],
)
def test_a_named_server_that_is_away_is_one_sentence_at_once(data: Path, name: str, url: str, shown: str) -> None:
    assert _ended(data, {f"KEYSTAGE_{name}": url}) == (1, "")
    said = stderr_file(data).read_text().splitlines()[-1]
    assert said.startswith(f"Error: the stack did not start: KEYSTAGE_{name} names {shown}")
    assert said.endswith("and nothing answers there")
    assert not processes_of(data)


def test_ports_are_remembered_and_a_taken_one_is_replaced(small: RunningStack) -> None:
    small.stop()
    with running_stack(small.data, program=_SMALL) as again:
        assert again.ready == small.ready
        again.stop()
    with (
        socket.create_server(("127.0.0.1", int(small.api_url.rpartition(":")[2]))),
        running_stack(small.data, program=_SMALL) as moved,
    ):
        assert moved.api_url != small.api_url
        assert moved.ready["redis_url"] == small.ready["redis_url"]


def test_two_whole_stacks_run_side_by_side_and_leave_nothing(tmp_path: Path) -> None:
    with running_stack(tmp_path / "first") as first, running_stack(tmp_path / "second") as second:
        assert _is_ready(first)
        assert _is_ready(second)
        _assert_that_ray_holds_no_root_key(first)
        first.wait_for_restart("mongo", first.kill("mongo"))
        worker = first.wait_for_restart("worker", first.kill("worker"))
        with closing(StackDatabase(Settings(), first.ready["mongo_url"])) as database:
            wait_until(lambda: database.has_heartbeat("worker", first.pid("worker")), 180, f"worker {worker} to work")
        _kill_raylet(first)
        _assert_that_the_seed_page_is_accepted_and_its_missing_secret_fails_the_job(first)
        assert second.restarts("ray") == second.restarts("mongo") == second.restarts("worker") == 0
        ray_directories = (first.ray_directory, second.ray_directory)
        assert first.stop() == 0
        assert _is_ready(second)
        assert second.stop() == 0
    assert not any(directory.exists() for directory in ray_directories)


def _kill_raylet(stack: RunningStack) -> None:
    """Take all of Ray away under a worker that is attached to it, as a machine short of memory does."""
    head = psutil.Process(stack.pid("ray"))
    next(each for each in head.children() if each.name() == "raylet").kill()
    stack.wait_for_restart("ray", head.pid)


def _assert_that_the_seed_page_is_accepted_and_its_missing_secret_fails_the_job(stack: RunningStack) -> None:
    with closing(build_services(stack_settings(stack.data))) as services:
        organization = services.organizations.create("Seed", "owner@example.com", "enterprise")
        services.ledger.grant(organization.scope, "grant:start", 1_000_000)
        services.namespaces.create(organization.scope, "default")
        key = new_key(services, organization.scope, Permission.ADMIN, "test").text
        headers = {"Authorization": f"Bearer {key}", "X-Namespace": "default"}
        with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as client:
            retriever = (
                client.post("/v1/retrievers", json={"retriever_name": "seed", "stages": [LLM_STAGE]})
                .raise_for_status()
                .json()
            )
            path = f"/v1/retrievers/{retriever['retriever_id']}/execute"
            task = client.post(path, json={"inputs": {}}, headers={"Prefer": "respond-async"}).json()["task_id"]
            wait_until(lambda: _task(client, task)["status"] == "FAILED", 240, "the job to fail")
            assert _task(client, task)["additional_data"]["error_code"] == "secret_missing"
        balance = services.ledger.balance(organization.scope)
        assert (balance.posted, balance.held) == (1_000_000, 0)


def _task(client: httpx.Client, task_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = client.get(f"/v1/tasks/{task_id}").raise_for_status().json()
    return shown


def _assert_that_ray_holds_no_root_key(stack: RunningStack) -> None:
    ray = psutil.Process(stack.pid("ray"))
    held = [set(each.environ()) for each in (ray, *ray.children(recursive=True))]
    assert len(held) > 3
    roots = {"KEYSTAGE_VAULT_KEYS", "KEYSTAGE_KEY_PEPPERS", "KEYSTAGE_AUDIT_KEYS"}
    assert all(not roots & names for names in held)
    assert roots <= set(psutil.Process(stack.pid("worker")).environ())


def _ended(data: Path, environment: dict[str, str] | None = None, *options: str) -> tuple[int, str]:
    """Exit code and stdout of a `keystage up` that ends by itself."""
    code = start_up(data, environment, _SMALL, *options).wait(timeout=60)
    return code, stdout_file(data).read_text()


def _events(stack: RunningStack) -> list[dict[str, object]]:
    return [json.loads(line) for line in stack.log().splitlines() if line.startswith("{")]


def _redis_value(stack: RunningStack, key: str) -> object:
    with Redis.from_url(stack.ready["redis_url"]) as redis:
        try:
            return redis.get(key)
        except RedisConnectionError:
            return None


def _is_ready(stack: RunningStack) -> bool:
    try:
        return httpx.get(stack.api_url + "/v1/health/readiness", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
