"""How `keystage up` begins and ends, with its parts played: in which order it lets go, and what it tells a person."""

import errno
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from cli import up
from cli.stack.layout import DataDirectory, data_directory
from cli.stack.plan import ReadyLine
from cli.stack.stop_signal import StopSignal

_ADDRESSES = ReadyLine(api_url="http://127.0.0.1:8080", mongo_url="m", redis_url="r", ray_address="a")


@dataclass
class Played:
    """What a stack is made of, each part noting what it was told."""

    told: list[str] = field(default_factory=list)

    def part(self, name: str, *methods: str) -> Any:
        """One part."""
        return SimpleNamespace(**{each: self._note(f"{name}.{each}") for each in methods})

    def _note(self, what: str) -> Any:
        def noted(*_: object, **__: object) -> bool:
            self.told.append(what)
            return True

        return noted


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    """The parts, in place of the real ones."""
    played = Played()
    monkeypatch.setattr(up, "WorkerWatch", lambda _: played.part("watch", "close"))
    monkeypatch.setattr(up, "Supervisor", lambda *_: played.part("servers", "start", "watch", "stop"))
    return played


@pytest.fixture
def layout(tmp_path: Path) -> DataDirectory:
    """A made data directory."""
    layout = data_directory(tmp_path / "data")
    layout.make()
    return layout


def _plan(played: Played) -> Any:
    database = played.part("client", "close", "worker_stalls")
    settings = SimpleNamespace(as_json=dict)
    return SimpleNamespace(database=database, services=(), addresses=_ADDRESSES, settings=settings)


def test_a_client_is_closed_before_its_server_ends(
    played: Played, layout: DataDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Closed after it, the driver waits ten seconds for a server to say goodbye to."""
    with capture_logs():
        up._run(_plan(played), layout, StopSignal())
    assert played.told == ["servers.start", "servers.watch", "watch.close", "client.close", "servers.stop"]
    assert json.loads(capsys.readouterr().out)["api_url"] == _ADDRESSES.api_url


def test_a_ready_line_that_nobody_can_take_does_not_end_the_stack(
    played: Played, layout: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("click.echo", refuse)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    monkeypatch.setattr("sys.stdout", SimpleNamespace(fileno=lambda: -1))
    with capture_logs() as lines:
        up._run(_plan(played), layout, StopSignal())
    assert "servers.watch" in played.told
    assert [line["error"] for line in lines if line["event"] == "stack.ready_line_not_written"] == ["the disk is full"]


def test_the_banner_tells_a_person_where_everything_is_and_what_comes_next(
    layout: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/keystage", "up"])
    said = up._banner("http://127.0.0.1:8080", layout)
    assert "http://127.0.0.1:8080/docs" in said
    assert str(layout.logs) in said
    assert f"KEYSTAGE_DATA={layout.root} .venv/bin/keystage org create" in said
    assert "Ctrl-C" in said
    monkeypatch.chdir(layout.root.parent)
    usual = data_directory(Path(".keystage"))
    assert "KEYSTAGE_DATA" not in up._banner("http://127.0.0.1:8080", usual)
