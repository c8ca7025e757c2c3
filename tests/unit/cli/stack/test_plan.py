"""What each process of a stack is told."""

import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from cli.stack.effective import MASKED
from cli.stack.layout import DataDirectory
from cli.stack.plan import plan_stack
from cli.stack.ray import remove_ray_directory
from config.settings import Settings

_SIGNING_KEY = "KEYSTAGE_AUDIT_SIGNING_KEY"


@pytest.mark.parametrize("given", [None, "s9:" + "A" * 43])
def test_only_the_sweeper_is_told_the_key_that_signs_audit_checkpoints(
    layout: DataDirectory, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setenv("KEYSTAGE_EMBEDDED_ENGINE", "secantusd-py")
    if given:
        monkeypatch.setenv(_SIGNING_KEY, given)
    plan = plan_stack(Settings(), layout)
    remove_ray_directory(layout)
    with closing(plan.database):
        told = {service.name for service in plan.services if service.environment.get(_SIGNING_KEY)}
        assert told == {"sweeper"}
        assert {service.name for service in plan.services if service.environment.get("KEYSTAGE_AUDIT_VERIFY_KEYS")} >= {
            "api",
            "worker",
            "sweeper",
        }


@pytest.mark.parametrize(("given", "tried"), [({}, [8080, 8081, 8082]), ({"KEYSTAGE_API_PORT": "0"}, [])])
def test_the_api_is_looked_for_from_8080_on_unless_any_port_will_do(
    layout: DataDirectory, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], tried: list[int]
) -> None:
    monkeypatch.setenv("KEYSTAGE_EMBEDDED_ENGINE", "secantusd-py")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    looked: list[int] = []

    def is_free(port: int, _host: str) -> bool:
        looked.append(port)
        return port not in (8080, 8081)

    monkeypatch.setattr("cli.stack.ports.is_free", is_free)
    plan = plan_stack(Settings(), layout)
    remove_ray_directory(layout)
    plan.database.close()
    assert [port for port in looked if 8080 <= port < 8180] == tried
    if tried:
        assert plan.addresses.api_url == "http://127.0.0.1:8082"
    # what is written down is where the API will listen
    assert plan.settings.row("api_port").value == int(plan.addresses.api_url.rpartition(":")[2])


def test_the_plan_says_what_its_processes_are_told(layout: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_EMBEDDED_ENGINE", "secantusd-py")
    plan = plan_stack(Settings(), layout)
    remove_ray_directory(layout)
    plan.database.close()
    worker = next(service for service in plan.services if service.name == "worker")
    for name in ("data", "mongo_url", "redis_url", "ray_address", "audit_verify_keys"):
        shown = plan.settings.row(name)
        told = worker.environment[f"KEYSTAGE_{name.upper()}"]
        assert (shown.value if isinstance(shown.value, str) else ",".join(shown.value), shown.origin) == (
            told,
            "this stack",
        )
    assert plan.settings.row("vault_keys").value == MASKED


def test_packages_of_the_directory_of_the_start_are_not_taken_for_ours(
    layout: DataDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("api", "config", "core", "pipelines", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYSTAGE_EMBEDDED_ENGINE", "secantusd-py")
    plan = plan_stack(Settings(), layout)
    remove_ray_directory(layout)
    plan.database.close()
    own = [service for service in plan.services if service.name not in ("redis", "mongo", "ray")]
    assert len(own) == 4
    for service in own:
        # it comes to its settings, which end it
        environment = {**service.environment, "KEYSTAGE_API_PORT": "none"}
        done = subprocess.run(
            service.command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50
        )
        assert "the settings are not usable: KEYSTAGE_API_PORT" in done.stderr


def test_an_ipv6_address_has_brackets_in_the_url(layout: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_EMBEDDED_ENGINE", "secantusd-py")
    monkeypatch.setenv("KEYSTAGE_API_HOST", "::1")
    monkeypatch.setattr("cli.stack.plan.require_host", lambda _: None)
    monkeypatch.setattr("cli.stack.ports.is_free", lambda *_: True)
    plan = plan_stack(Settings(), layout)
    remove_ray_directory(layout)
    plan.database.close()
    assert plan.addresses.api_url == f"http://[::1]:{plan.settings.row('api_port').value}"
