"""The database engine of a stack: the one that a setting names at first, and never another one later."""

import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from cli.stack.engine import Engine, choose_engine, engine_command, engine_url, program
from cli.stack.layout import DataDirectory
from config.settings import Settings
from core.errors import UnavailableError
from core.storage.mongo import connect


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the whole PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("HOME", str(tmp_path))
    return directory


def _install(path: Path, name: str) -> None:
    program = path / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)


def test_what_lies_on_the_path_is_not_chosen(layout: DataDirectory, path: Path) -> None:
    for name in Engine:
        _install(path, name)
    assert choose_engine(layout, Settings(_env_file=None)) is Engine.SECANTUSD_PY
    assert Path(str(program(Engine.SECANTUSD_PY))).parent == Path(sys.executable).parent


@pytest.mark.parametrize("engine", list(Engine))
def test_a_setting_chooses_and_the_data_stays_with_it(layout: DataDirectory, path: Path, engine: Engine) -> None:
    _install(path, engine)
    assert choose_engine(layout, Settings(_env_file=None, embedded_engine=engine)) is engine
    assert choose_engine(layout, Settings(_env_file=None)) is engine


def test_an_engine_that_is_gone_is_a_clear_error(layout: DataDirectory, path: Path) -> None:
    _install(path, "mongod")
    choose_engine(layout, Settings(_env_file=None, embedded_engine="mongod"))
    (path / "mongod").unlink()
    with pytest.raises(UnavailableError, match="was made by mongod, which is not installed"):
        choose_engine(layout, Settings(_env_file=None))


def test_settings_that_ask_for_another_engine_are_refused(layout: DataDirectory, path: Path) -> None:
    choose_engine(layout, Settings(_env_file=None))
    _install(path, "mongod")
    with pytest.raises(UnavailableError, match="was made by secantusd-py"):
        choose_engine(layout, Settings(_env_file=None, embedded_engine="mongod"))


def test_an_engine_that_is_not_installed_is_not_recorded(layout: DataDirectory, path: Path) -> None:
    with pytest.raises(UnavailableError, match="the embedded database is mongod, which is not installed"):
        choose_engine(layout, Settings(_env_file=None, embedded_engine="mongod"))
    assert not layout.engine.exists()


@pytest.mark.parametrize("engine", [Engine.SECANTUSD_PY, Engine.SECANTUSD_RS])
def test_secantusdb_is_told_to_keep_what_it_acknowledged(layout: DataDirectory, engine: Engine) -> None:
    assert "--sync-on-commit" in engine_command(engine, 27017, layout.mongo, 256)


def test_mongod_keeps_its_journal(layout: DataDirectory) -> None:
    command = " ".join(engine_command(Engine.MONGOD, 27017, layout.mongo, 256))
    assert "--replSet" in command
    assert "nojournal" not in command


@pytest.mark.parametrize(
    ("engine", "option"),
    [
        (Engine.MONGOD, ("--wiredTigerCacheSizeGB", "0.25")),
        (Engine.SECANTUSD_RS, ("--cache-size", "256M")),
        (Engine.SECANTUSD_PY, ("--cache-size", "256M")),
    ],
)
def test_an_engine_is_told_how_much_it_may_keep_in_memory(
    layout: DataDirectory, engine: Engine, option: tuple[str, str]
) -> None:
    command = engine_command(engine, 27017, layout.mongo, cache_mb=256)
    assert option in pairwise(command)


@pytest.mark.parametrize("engine", list(Engine))
def test_secantusdb_alone_is_sent_no_retryable_writes(engine: Engine) -> None:
    """It sorts all that it remembers of them at each write, and forgets them where they would matter: decision 10."""
    with closing(connect(engine_url(engine, 1)).client) as client:
        assert client.options.retry_writes == (engine is not Engine.SECANTUSD_PY)
