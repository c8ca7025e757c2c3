"""What the sweeper does about audit checkpoints while the object storage is away."""

from typing import Any

import structlog

from core.backends.backend import Backend
from core.errors import BackendAwayError
from workers.sweeper import Sweeper


class Checkpoints:
    """Makes two checkpoints, unless the object storage is away."""

    def __init__(self) -> None:
        self.is_away = False

    def run(self) -> list[str]:
        """Two checkpoints."""
        if self.is_away:
            raise BackendAwayError(Backend.BLOBS)
        return ["one", "two"]


def test_checkpoints_wait_for_the_object_storage_which_is_said_once() -> None:
    checkpoints, sweeper = Checkpoints(), object.__new__(Sweeper)
    untyped: Any = sweeper
    untyped._checkpointer, untyped._checkpoints_wait = checkpoints, False
    with structlog.testing.capture_logs() as logs:
        made = [sweeper.sign_audit_logs()]
        checkpoints.is_away = True
        made += [sweeper.sign_audit_logs() for _ in range(3)]
        checkpoints.is_away = False
        made += [sweeper.sign_audit_logs() for _ in range(2)]
    assert made == [2, 0, 0, 0, 2, 2]
    assert [line["event"] for line in logs] == ["sweeper.audit_checkpoints_wait", "sweeper.audit_checkpoints_go_on"]
