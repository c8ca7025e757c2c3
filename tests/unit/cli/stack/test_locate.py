"""An operator's command finds the stack by settings or by the data directory, and says so when there is none."""

import os
from collections.abc import Iterator

import pytest

from cli.stack.effective import effective
from cli.stack.keys import own_keys
from cli.stack.layout import DataDirectory, write_json
from cli.stack.locate import installation_settings, stack_settings
from cli.stack.lock import StackLock
from config.settings import Settings, load_settings
from core.errors import UnavailableError

_ADDRESSES = {
    "mongo_url": "mongodb://127.0.0.1:1/keystage",
    "redis_url": "redis://127.0.0.1:2/0",
    "ray_address": "127.0.0.1:3",
}


@pytest.fixture
def running(layout: DataDirectory) -> Iterator[DataDirectory]:
    """A data directory that looks as `keystage up` leaves it while it runs."""
    own_keys(layout, Settings())
    write_json(layout.ready, {"ready": True, "api_url": "http://127.0.0.1:4", **_ADDRESSES})
    with StackLock(layout) as lock:
        lock.take()
        yield layout


def test_a_running_stack_gives_addresses_and_keys(running: DataDirectory) -> None:
    settings = stack_settings(running.root)
    assert settings.mongo_url == _ADDRESSES["mongo_url"]
    assert settings.redis_url == _ADDRESSES["redis_url"]
    assert settings.ray_address == _ADDRESSES["ray_address"]
    assert settings.data == running.root
    assert len(settings.vault_keys) == len(settings.key_peppers) == len(settings.audit_keys) == 1


def test_the_data_directory_may_come_from_the_environment(
    running: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTAGE_DATA", str(running.root))
    assert stack_settings().mongo_url == _ADDRESSES["mongo_url"]


def test_a_given_address_stands_over_the_stacks(running: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", "mongodb://elsewhere/keystage")
    settings = stack_settings(running.root)
    assert settings.mongo_url == "mongodb://elsewhere/keystage"
    assert settings.redis_url == _ADDRESSES["redis_url"]


def test_given_addresses_need_no_stack(layout: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", "mongodb://elsewhere/keystage")
    assert stack_settings(layout.root).mongo_url == "mongodb://elsewhere/keystage"


def test_no_stack_is_a_clear_error(layout: DataDirectory) -> None:
    with pytest.raises(UnavailableError, match=r"no stack runs on .*keystage up.*KEYSTAGE_MONGO_URL"):
        stack_settings(layout.root)


def test_the_file_of_a_stack_that_was_killed_counts_for_nothing(layout: DataDirectory) -> None:
    write_json(layout.ready, {"ready": True, **_ADDRESSES})
    layout.lock.write_text("1")
    with pytest.raises(UnavailableError, match="no stack runs on"):
        stack_settings(layout.root)


def test_what_the_stack_was_told_completes_what_is_given_here(
    running: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    _was_told(running, {"KEYSTAGE_BATCH_SLOTS": "7", "KEYSTAGE_BLOB_URL": "s3://of-the-stack"})
    monkeypatch.setenv("KEYSTAGE_BATCH_SLOTS", "9")
    settings = stack_settings(running.root)
    assert (settings.batch_slots, settings.blob_url) == (9, "s3://of-the-stack")


def test_whoever_describes_the_stack_reads_what_it_was_told(
    running: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    _was_told(running, {"KEYSTAGE_BATCH_SLOTS": "7", "KEYSTAGE_BROKER_URL": "redis://u:hidden@h:1/0"})
    monkeypatch.setenv("KEYSTAGE_DATA", str(running.root))
    monkeypatch.setenv("KEYSTAGE_BATCH_SLOTS", "9")
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", "mongodb://elsewhere/keystage")
    located = installation_settings()
    assert located.settings.batch_slots == 7
    assert located.settings.mongo_url == _ADDRESSES["mongo_url"]
    # where it is can be said, and its password not
    assert located.settings.broker == "redis://u:***@h:1/0"
    assert located.told.row("batch_slots").value == 7
    assert f"the stack that runs on {running.root} (process {os.getpid()})" in located.whose


def test_without_a_stack_it_is_this_shell_that_is_described(
    layout: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTAGE_DATA", str(layout.root))
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", "mongodb://elsewhere/keystage")
    located = installation_settings()
    assert located.settings.mongo_url == "mongodb://elsewhere/keystage"
    assert "settings of this shell, not of a stack" in located.whose


def test_a_stack_that_is_starting_is_named_as_such(layout: DataDirectory) -> None:
    with StackLock(layout) as lock:
        lock.take()
        with pytest.raises(UnavailableError, match=f"starting or stopping \\(process {os.getpid()}\\)"):
            stack_settings(layout.root)


def _was_told(layout: DataDirectory, variables: dict[str, str]) -> None:
    """Write down what a stack that was started with these variables would."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        write_json(layout.settings, effective(load_settings(data=layout.root), _ADDRESSES).as_json())
