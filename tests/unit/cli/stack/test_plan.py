"""What each process of a stack is told."""

from contextlib import closing

import pytest

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
