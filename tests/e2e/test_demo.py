"""`keystage demo` holds from start to end, as a newcomer runs it, and leaves no process behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.stack import processes_of

ROOT = Path(__file__).parents[2]


def test_the_demo_holds_on_files_of_the_readers_own(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "tides.md").write_text("# Tides\n\nThe moon pulls the sea, so the water rises twice a day.\n")
    (notes / "bread.html").write_text("<h1>Bread</h1><p>Flour, water, salt and time make a loaf.</p>")
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "keystage"), "demo", "--json", "--input", str(notes)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    summary = json.loads(ran.stdout)
    assert (summary["ok"], summary["files"], summary["webhook_verified"]) == (True, 2, True)
    assert summary["documents"] >= 2
    assert len(summary["answers"]) == 3
    credits = summary["credits"]
    assert (round(credits["granted"] - credits["captured"], 3), credits["held"]) == (credits["posted"], 0)
    assert "http://127.0.0.1:8080/docs" in ran.stderr.splitlines()[-1]
    assert processes_of(tmp_path / ".keystage-demo") == []


def test_the_demo_says_what_is_wrong_with_an_unusable_input(tmp_path: Path) -> None:
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "keystage"), "demo", "--input", str(tmp_path / "nowhere")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "nowhere does not exist" in ran.stderr
