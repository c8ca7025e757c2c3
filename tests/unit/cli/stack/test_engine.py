"""The database engine of a stack: the best one installed at first, and never another one later."""

from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from cli.stack.engine import Engine, choose_engine, engine_command, engine_url
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
    return directory


def _install(path: Path, name: str) -> None:
    program = path / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ([], Engine.SECANTUSD_PY),  # it is in the virtual environment
        (["secantusd-rs"], Engine.SECANTUSD_RS),
        (["secantusd-rs", "mongod"], Engine.MONGOD),
    ],
)
def test_the_best_installed_engine_is_chosen(
    layout: DataDirectory, path: Path, installed: list[str], chosen: Engine
) -> None:
    for name in installed:
        _install(path, name)
    assert choose_engine(layout, Settings()) is chosen


def test_an_engine_that_is_installed_later_does_not_take_over(layout: DataDirectory, path: Path) -> None:
    choose_engine(layout, Settings())
    _install(path, "mongod")
    assert choose_engine(layout, Settings()) is Engine.SECANTUSD_PY


def test_an_engine_that_is_gone_is_a_clear_error(layout: DataDirectory, path: Path) -> None:
    _install(path, "mongod")
    choose_engine(layout, Settings())
    (path / "mongod").unlink()
    with pytest.raises(UnavailableError, match="was made by mongod, which is not installed"):
        choose_engine(layout, Settings())


def test_settings_that_ask_for_another_engine_are_refused(layout: DataDirectory, path: Path) -> None:
    choose_engine(layout, Settings())
    _install(path, "mongod")
    with pytest.raises(UnavailableError, match="was made by secantusd-py"):
        choose_engine(layout, Settings(embedded_engine="mongod"))


def test_an_engine_that_is_not_installed_is_not_recorded(layout: DataDirectory, path: Path) -> None:
    with pytest.raises(UnavailableError, match="the embedded database is mongod, which is not installed"):
        choose_engine(layout, Settings(embedded_engine="mongod"))
    assert not layout.engine.exists()


def test_secantusdb_is_told_to_keep_what_it_acknowledged(layout: DataDirectory) -> None:
    assert "--sync-on-commit" in engine_command(Engine.SECANTUSD_PY, 27017, layout.mongo, 256)


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
