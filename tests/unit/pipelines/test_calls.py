"""What a call came to that Ray gives no result of: whether Ray is away, its own answer says."""

from concurrent.futures import Future
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest
from ray.exceptions import RaySystemError

from core.backends.backend import Backend
from core.errors import BackendAwayError, UnavailableError
from pipelines import calls
from pipelines.actors import CallContext
from pipelines.calls import Calls
from pipelines.cluster import Attachment, Cluster
from pipelines.load import Kind, Load
from pipelines.ray_probe import RaySession

PIPELINES = Path(calls.__file__).parent
CALL = CallContext("ns_1", "task_1", "req_1")


class Played:
    """A cluster and its one actor."""

    def __init__(self, ray_is_well: bool) -> None:
        self.ray_is_well = ray_is_well
        self.was_lost = False
        self.attachment = Attachment((self,), None, RaySession(b"", "", ("", 0)), Load((self,)))

    @property
    def run_chain(self) -> "Played":
        return self

    def options(self, **_: object) -> "Played":
        return self

    def remote(self, *_: object) -> object:
        return object()

    def attached(self) -> Attachment:
        return self.attachment

    def watch(self, _: Attachment) -> "Played":
        return self

    def look(self) -> None:
        return

    def outcome(self, future: "Future[Any]") -> Any:
        return future.result()

    def explain_loss(self, _: Attachment) -> None:
        if not self.ray_is_well:
            raise BackendAwayError(Backend.RAY, "was restarted")

    def lost(self, _: Attachment) -> None:
        self.was_lost = True


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("calls", "load"):
        monkeypatch.setattr(f"pipelines.{module}.ended", lambda running, _=0: running)


def came_to(cluster: Played, monkeypatch: pytest.MonkeyPatch, error: BackendAwayError) -> UnavailableError:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("pipelines.calls.result_of", fails)
    with pytest.raises(UnavailableError) as caught:
        Calls(cast(Cluster, cluster)).one(Kind.CHAINS, CALL, "run_chain", (), Event())
    return caught.value


def test_a_result_that_cannot_be_read_is_no_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Played(ray_is_well=True)
    error = came_to(cluster, monkeypatch, BackendAwayError(Backend.RAY, "does not answer: RaySystemError"))
    # else a job whose result nobody can read would be run again for a day
    assert not isinstance(error, BackendAwayError)
    assert "RaySystemError" in error.message
    assert not cluster.was_lost


def test_a_ray_that_is_away_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Played(ray_is_well=False)
    error = came_to(cluster, monkeypatch, BackendAwayError(Backend.RAY, "does not answer: RpcError"))
    assert isinstance(error, BackendAwayError)
    assert cluster.was_lost


@pytest.mark.parametrize("backend", [Backend.RAY, Backend.VECTORS])
def test_what_was_silent_and_what_an_actor_met_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    told = BackendAwayError(backend, silent=backend is Backend.RAY)
    assert came_to(Played(ray_is_well=True), monkeypatch, told) is told


def test_a_ray_that_takes_no_call_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> object:
        raise RaySystemError("Ray has not been started yet")

    cluster = Played(ray_is_well=True)
    monkeypatch.setattr(cluster, "remote", refuses)
    with pytest.raises(BackendAwayError) as away:
        Calls(cast(Cluster, cluster)).one(Kind.CHAINS, CALL, "run_chain", (), Event())
    assert away.value.backend is Backend.RAY
    assert cluster.was_lost, "the next call attaches again"


def test_calls_leave_in_one_place_alone() -> None:
    """It says of each failure of Ray's that Ray is away; the actors themselves are made under such an eye too."""
    sends = {path.name for path in PIPELINES.glob("**/*.py") if ".remote(" in path.read_text()}
    assert sends == {"remote.py", "cluster.py"}


def test_no_call_is_cancelled_through_ray() -> None:
    """One that had not reached its actor yet would leave a gap, for which all later calls to that actor wait."""
    assert [path.name for path in PIPELINES.glob("**/*.py") if "ray.cancel" in path.read_text()] == []
