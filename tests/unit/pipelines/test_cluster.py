"""Where Ray's actors find our code, and what a probe does with a connection to a Ray that is gone."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import RaySystemError

from core.backends.backend import Backend
from core.errors import BackendAwayError
from pipelines.cluster import Attachment, Cluster, _our_code_alone
from pipelines.load import Load
from pipelines.ray_probe import RayProbe, RaySession


def test_actors_are_not_told_the_directory_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = _our_code_alone()
    assert job._py_driver_sys_path == [str(Path(__file__).parents[3])]
    # what Ray asks before it adds that directory
    assert job._runtime_env_has_working_dir()


@pytest.mark.parametrize("silent", [False, True])
def test_a_probe_that_meets_another_ray_gives_the_old_connection_up(
    silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_another(_probe: RayProbe, _session: RaySession) -> None:
        raise BackendAwayError(Backend.RAY, silent=silent)

    monkeypatch.setattr(RayProbe, "still", is_another)
    monkeypatch.setattr(RayProbe, "session_name", lambda _probe: b"new")
    monkeypatch.setattr(Cluster, "_set_environment", lambda _cluster: None)
    cluster = Cluster("127.0.0.1:1", None, {}, None, 1)  # type: ignore[arg-type]  # no actor is made
    cluster._attachment = Attachment((), None, RaySession(b"old", "node", ("127.0.0.1", 1)), Load(()))
    with pytest.raises(BackendAwayError):
        cluster.probe()
    if silent:
        with pytest.raises(BackendAwayError):
            cluster.probe()
    else:
        # so that jobs are tried again, the first of which attaches
        cluster.probe()


@pytest.mark.parametrize("nodes", [RaySystemError("GCS is gone"), ConnectionError("reset"), []])
def test_a_ray_that_went_right_after_the_connection_is_away(
    nodes: Exception | list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[object]:
        if isinstance(nodes, Exception):
            raise nodes
        return nodes

    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "own"))
    monkeypatch.setattr(ray, "nodes", told)
    cluster = Cluster("127.0.0.1:1", None, {}, None, 1)  # type: ignore[arg-type]  # no actor is made
    with pytest.raises(BackendAwayError) as away:
        cluster._new_session()
    assert away.value.backend is Backend.RAY


def test_a_connection_that_ray_refuses_in_its_own_words_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(**_: object) -> None:
        raise RaySystemError("wrong token")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuses)
    cluster = Cluster("127.0.0.1:1", None, {}, None, 1)  # type: ignore[arg-type]  # no actor is made
    with pytest.raises(BackendAwayError) as away:
        cluster._connected(b"session")
    assert away.value.backend is Backend.RAY
