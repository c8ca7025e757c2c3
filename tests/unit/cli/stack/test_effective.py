"""What a stack writes down of its settings: each with its value and where it came from, and no secret."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.stack.effective import MASKED, effective, recorded
from cli.stack.layout import DataDirectory, write_json
from config.settings import load_settings

_KEY = "k1:" + "A" * 43


def test_each_setting_says_where_it_came_from(layout: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("KEYSTAGE_LOG_LEVEL=DEBUG\n")
    monkeypatch.setenv("KEYSTAGE_API_THREADS", "3")
    monkeypatch.setenv("KEYSTAGE_BATCH_SLOTS", "4")
    found = effective(load_settings(data=layout.root), {"mongo_url": "mongodb://127.0.0.1:5/k"}, options=["data"])
    shown = {name: (row.value, row.origin, row.changed) for name in ("log_level", "api_threads", "batch_slots",
             "mongo_url", "data", "redis_url") for row in [found.row(name)]}  # fmt: skip
    assert shown == {
        "log_level": ("DEBUG", ".env", True),
        "api_threads": (3, "environment", True),
        # given, and the same as the default
        "batch_slots": (4, "environment", False),
        "mongo_url": ("mongodb://127.0.0.1:5/k", "this stack", True),
        "data": (str(layout.root), "command line", True),
        "redis_url": ("redis://127.0.0.1:6379/0", "default", False),
    }


def test_no_secret_is_written_down(layout: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_VAULT_KEYS", _KEY)
    monkeypatch.setenv("KEYSTAGE_BROKER_URL", "redis://u:the-password@h:6379/1")
    monkeypatch.setenv("KEYSTAGE_OPENAI_API_KEY", "sk-the-password")
    found = effective(load_settings(), {"key_peppers": SecretStr(_KEY)})
    write_json(layout.settings, found.as_json())
    text = layout.settings.read_text()
    assert "the-password" not in text
    assert "A" * 43 not in text
    assert [found.row(name).value for name in ("vault_keys", "key_peppers", "openai_api_key")] == [
        [MASKED], MASKED, MASKED,
    ]  # fmt: skip
    assert found.row("broker_url").value == "redis://u:***@h:6379/1"
    assert not {"broker_url", "vault_keys", "openai_api_key"} & json.loads(text)["values"].keys()


def test_what_is_read_back_is_what_was_written(layout: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded(layout) is None
    monkeypatch.setenv("KEYSTAGE_MONGO_ULR", "x")
    written = effective(load_settings(api_threads=3))
    write_json(layout.settings, written.as_json())
    read = recorded(layout)
    assert read is not None
    assert [vars(row) for row in read.rows] == [vars(row) for row in written.rows]
    assert read.unread == written.unread
    assert "did you mean KEYSTAGE_MONGO_URL?" in read.unread[-1]
    assert load_settings(**read.values) == load_settings(api_threads=3)
