"""Where Ray's actors find our code: where the worker has it, and not in the directory of the start."""

from pathlib import Path

import pytest

from pipelines.cluster import _our_code_alone


def test_actors_are_not_told_the_directory_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = _our_code_alone()
    assert job._py_driver_sys_path == [str(Path(__file__).parents[3])]
    # what Ray asks before it adds that directory
    assert job._runtime_env_has_working_dir()
