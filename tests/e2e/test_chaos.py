"""The short fault run; `make chaos SEED=n` is the long one."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.e2e import chaos


def test_nothing_is_lost_doubled_or_untold_while_processes_are_killed_and_servers_are_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = chaos.run(seed=1, jobs=60, kills=8, absences=4, flushes=1, directory=tmp_path)
    with capsys.disabled():
        print("\nchaos:", json.dumps(asdict(verdict)))
    assert verdict.holds, verdict
