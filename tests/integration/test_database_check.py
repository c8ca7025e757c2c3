"""A database that does not do what Keystage relies on: the doctor names what, and no process starts on it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import COMMANDS, LazyGroup
from cli.operators.doctor.command import doctor
from core.storage.abilities.examination import ABILITIES
from core.storage.mongo import close, connect
from tests.logs import logging_as_before
from tests.servers import own_database
from tests.stack import start_up, stderr_file
from tests.weaknesses import KeepsFreedValues, leaves
from tests.wire_proxy import Weakness, weakened

ROOT = Path(__file__).parents[2]
MISSING = "unique.freed_by_leaving_a_partial_index"


@pytest.fixture
def weak_url(mongo_url: str) -> Iterator[str]:
    """A database on which a key that was rotated could not be rotated again."""
    with weakened(own_database(mongo_url), KeepsFreedValues(leaves)) as url:
        yield url


@pytest.fixture(autouse=True)
def logging_of_commands() -> Iterator[None]:
    """Commands configure it."""
    with logging_as_before():
        yield


def _run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, *words: str) -> Result:
    for name in [name for name in os.environ if name.startswith("KEYSTAGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", url)
    return CliRunner().invoke(LazyGroup(COMMANDS, ""), words)


def _doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, *options: str) -> Result:
    return _run(monkeypatch, tmp_path, url, "doctor", "--database", *options)


def test_the_doctor_names_what_is_missing_and_what_would_break(
    weak_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = _doctor(monkeypatch, tmp_path, weak_url, "--json")
    assert done.exit_code == 1, done.output
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    assert [row["ability"] for row in rows] == [ability.name for ability in ABILITIES]
    (missing,) = [row for row in rows if row["result"] != "holds"]
    assert (missing["ability"], missing["result"]) == (MISSING, "missing")
    assert "the freed value stays taken for: insert, upsert, update" in missing["seen"]
    assert missing["without it"] == "A key that was rotated could not be rotated again, nor a data key follow another."

    monkeypatch.setenv("KEYSTAGE_DATABASE_SHORTFALLS", MISSING)
    known = CliRunner().invoke(doctor, ["--database", "--problems", "--json"])
    assert [(row["ability"], row["result"]) for row in json.loads(known.stdout)] == [(MISSING, "known")]
    assert known.exit_code == 0


def test_a_good_database_is_said_to_be_good(mongo_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = own_database(mongo_url)
    done = _doctor(monkeypatch, tmp_path, url, "--problems")
    assert (done.exit_code, done.stdout) == (0, f"{len(ABILITIES)} abilities, all of them hold\n")
    assert "checked in keystage_check_" in done.stderr
    named = CliRunner().invoke(doctor, ["--database", "--in", "named_by_hand"])
    assert named.exit_code == 0
    assert "checked in named_by_hand, and removed again" in named.stderr
    assert "unique.freed_by_set" in named.stdout
    database = connect(url)
    assert database.client["named_by_hand"].list_collection_names() == []
    assert database.list_collection_names() == []
    close(database)


def test_where_it_works_is_said_of_the_database_only(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(doctor, ["--in", "somewhere"])
    assert done.exit_code == 2
    assert "--in says where --database works: give both" in done.stderr


def _is_refused_with_the_list(said: str) -> bool:
    return f"  {MISSING}: the freed value stays taken" in said and f"KEYSTAGE_DATABASE_SHORTFALLS={MISSING};" in said


def _collections(url: str) -> list[str]:
    database = connect(url)
    found = database.list_collection_names()
    close(database)
    return found


def test_a_stack_does_not_start_on_it(weak_url: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = start_up(data, {"KEYSTAGE_MONGO_URL": weak_url, "KEYSTAGE_DATA": str(data)})
    assert process.wait(timeout=120) == 1
    said = stderr_file(data).read_text()
    assert "Error: the stack did not start: the database" in said
    assert _is_refused_with_the_list(said)
    assert _collections(weak_url) == []


def test_no_command_of_an_operator_works_on_it_and_the_doctor_reads_no_records_of_it(
    weak_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = _run(monkeypatch, tmp_path, weak_url, "org", "list")
    assert (listed.exit_code, listed.stdout) == (1, "")
    assert isinstance(listed.exception, SystemExit)
    assert "Error: the database" in listed.stderr
    assert _is_refused_with_the_list(listed.stderr)
    examined = _run(monkeypatch, tmp_path, weak_url, "doctor", "--json", "--api-url", "http://127.0.0.1:9")
    rows = {row["check"]: row for row in json.loads(examined.stdout)}
    for check in ("processes", "keys.first"):
        assert rows[check]["result"] == "fail"
        assert MISSING in rows[check]["seen"]
    assert _collections(weak_url) == []


def test_what_the_first_look_at_a_good_one_logs_leaves_the_doctors_answer_alone(
    mongo_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # not the pinned server, so that it is checked
    with weakened(own_database(mongo_url), Weakness()) as url:
        examined = _run(monkeypatch, tmp_path, url, "doctor", "--json", "--api-url", "http://127.0.0.1:9")
    rows = {row["check"]: row for row in json.loads(examined.stdout)}
    assert rows["keys.first"]["result"] == "ok"
    assert "database.checked" in examined.stderr


@pytest.mark.parametrize("process", ["api.serve", "workers.worker", "workers.dispatcher", "workers.sweeper"])
def test_no_process_of_production_starts_on_it(weak_url: str, tmp_path: Path, process: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTAGE_")}
    told = {"PYTHONPATH": str(ROOT), "KEYSTAGE_MONGO_URL": weak_url}
    done = subprocess.run(
        [sys.executable, "-m", process], env=clean | told, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert f"  {MISSING}: the freed value stays taken" in done.stderr
    assert "Traceback" not in done.stderr
