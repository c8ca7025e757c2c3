"""Logs are lines for a person on a terminal and JSON everywhere else, unless the operator asks for one of them."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from config.logging_setup import configure_logging
from config.settings import Settings


class Terminal(io.StringIO):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = (root.handlers, root.level, sys.excepthook, threading.excepthook)
    yield
    root.handlers, root.level, sys.excepthook, threading.excepthook = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("given", "stream", "is_json"),
    [
        ({}, Terminal, False),
        ({}, io.StringIO, True),
        ({"log_format": "json"}, Terminal, True),
        ({"log_format": "console"}, io.StringIO, False),
    ],
)
def test_the_form_follows_whoever_reads(given: dict[str, Any], stream: type[io.StringIO], is_json: bool) -> None:
    written = stream()
    configure_logging(Settings(_env_file=None, **given), "supervisor", written)
    structlog.get_logger("ours").info("service.ready", service="redis")
    (line,) = [line for line in written.getvalue().splitlines() if "service.ready" in line]
    assert line.startswith("{") == is_json
    if is_json:
        assert json.loads(line)["service"] == "redis"
    assert "redis" in line


def test_a_misspelt_variable_is_the_first_line_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MONGO_ULR", "mongodb://elsewhere")
    written = io.StringIO()
    configure_logging(Settings(_env_file=None), "worker", written)
    warned = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [(line["level"], line["hint"]) for line in warned if "MONGO_ULR" in line["hint"]] == [
        ("warning", "KEYSTAGE_MONGO_ULR (environment) is no setting: did you mean KEYSTAGE_MONGO_URL?")
    ]
