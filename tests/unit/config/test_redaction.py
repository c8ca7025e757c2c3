"""No log line carries a key, a password or an internal id, whatever field, record or traceback it came in."""

import io
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.logging_setup import bind_unit_of_work, configure_logs, unbind_unit_of_work
from config.redaction import LONGEST_LINE, LONGEST_TEXT, UNIT_OF_WORK, redact, redacted
from core.ids import Prefix, random_id
from core.tenancy.keys import mint_key
from core.webhooks.signature import generate_secret

ALNUM = "abcdefGHIJKL0123456789"
SHAPES = {
    "our key": mint_key("live").text,
    "our test key": mint_key("test").text,
    "signing secret": generate_secret(),
    "openai": "sk-proj-abc123DEF456ghi789",
    "anthropic": "sk-ant-api03-abc_DEF-456",
    "google": "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "internal id": random_id(Prefix.INTERNAL),
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
}
WRAPPED = [
    "{}",
    "before {} after",
    "('{}',)",
    '{{"x": "{}"}}',
    "x={}",
    "https://h/p?q={}&r=1",
    "line\n{}\nline",
    "<{}>",
]


def secret_part(value: str) -> str:
    """What may not be found: the value without the part that says its kind."""
    return value.split("_")[-1] if "_" in value and not value.startswith("sk-") else value[6:]


@pytest.mark.parametrize("wrapping", WRAPPED)
@pytest.mark.parametrize("kind", SHAPES)
def test_a_known_shape_is_masked_wherever_it_stands(kind: str, wrapping: str) -> None:
    assert secret_part(SHAPES[kind]) not in redacted(wrapping.format(SHAPES[kind]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mongodb://user:pa55@h:27017/k", "mongodb://user:***@h:27017/k"),
        ("redis://:p@ss/word@h:6379/0", "redis://:***@h:6379/0"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
        ("{'password': 'hunter22'}", "{'password': '***'}"),
        ('{"api_key": "hunter22", "a": 1}', '{"api_key": "***", "a": 1}'),
        ("login failed password=hunter22, user=me", "login failed password=***, user=me"),
        ("GET /x?token=hunter22&y=1", "GET /x?token=***&y=1"),
        ("b'client_secret': b'hunter22'", "b'client_secret': b'***'"),
    ],
)
def test_a_password_in_a_text_is_masked_and_the_rest_stays(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "task-force of ten",
        "http://127.0.0.1:8080/v1/health",
        "redis://user@host:6379/0",
        "ns_4f1cQXoYJ2m8yJbIYz1Kq0",
        "the secret openai_api_key is missing",
        "request.handled",
        "2026-01-01T00:00:00Z",
        "print_something_that_is_long_enough_to_look_odd",
        "",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "name",
    ["password", "redis_password", "secret", "client_secret", "api_key", "apikey", "access_token", "Authorization"],
)
def test_a_field_whose_name_says_secret_is_masked(name: str) -> None:
    for value in ("hunter22", b"hunter22", ["hunter22"], {"inner": "hunter22"}, SecretStr("hunter22")):
        assert "hunter22" not in str(redact(None, "", {name: value, "nested": {name: [value]}}))


def test_names_and_counts_about_secrets_stay_readable() -> None:
    event = {"secret_name": "openai_api_key", "key_id": "key_1", "tokens": 7, "token_count": 3, "has_token": True}
    assert redact(None, "", dict(event)) == event


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_an_internal_id_is_found_at_any_place_of_any_value(value: Any) -> None:
    internal = SHAPES["internal id"]
    planted = {"event": "e", "value": value, "deep": [{"a": (f"x{internal}y", {internal: internal})}], internal: 1}
    event = redact(None, "", {name: inner for name, inner in planted.items() if name != internal})
    assert secret_part(internal) not in json.dumps(event, default=str)


class Lines:
    """What was logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        """All of it."""
        return self.stream.getvalue()

    def parsed(self) -> list[dict[str, Any]]:
        """Each line as JSON."""
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(params=["json", "console"])
def lines(request: pytest.FixtureRequest) -> Iterator[Lines]:
    """A process's logging, in both forms."""
    yield from _logging_to(Lines(), request.param)


@pytest.fixture
def json_lines() -> Iterator[Lines]:
    """A process's logging as JSON."""
    yield from _logging_to(Lines(), "json")


def _logging_to(lines: Lines, form: str) -> Iterator[Lines]:
    root = logging.getLogger()
    before = (root.handlers, root.level, sys.excepthook, threading.excepthook)
    configure_logs("INFO", form, "test", lines.stream)
    yield lines
    root.handlers, root.level, sys.excepthook, threading.excepthook = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


def _fail(secret: str) -> None:
    raise ValueError(f"cannot use {secret}")


@pytest.mark.parametrize("kind", SHAPES)
def test_no_sink_shows_it(lines: Lines, kind: str) -> None:
    secret = SHAPES[kind]
    log = structlog.get_logger("ours")
    log.info("event.of_ours", value=secret, nested={"list": [secret]})
    event = f"in the event {secret}"
    log.warning(event)
    logging.getLogger("library").warning("their record %s", secret)
    logging.getLogger("library").warning("their mapping %(x)s", {"x": secret})
    try:
        _fail(secret)
    except ValueError:
        log.exception("ours.failed")
        logging.getLogger("library").exception("theirs failed")
    thread = threading.Thread(target=_fail, args=(secret,))
    thread.start()
    thread.join()
    assert lines.text.count("ValueError") >= 3
    assert secret_part(secret) not in lines.text


def test_every_line_says_what_when_how_grave_and_which_process(json_lines: Lines) -> None:
    structlog.get_logger("ours").info("a.b", n=1)
    logging.getLogger("library").error("theirs")
    threading_failure = threading.Thread(target=_fail, args=("x",))
    threading_failure.start()
    threading_failure.join()
    assert len(json_lines.parsed()) == 3
    for line in json_lines.parsed():
        assert {"event", "level", "timestamp", "process"} <= line.keys()
        assert line["process"] == "test"


def test_a_line_carries_the_ids_of_its_unit_of_work(json_lines: Lines) -> None:
    ids = {name: f"{name}-value" for name in UNIT_OF_WORK}
    bind_unit_of_work(ids)
    structlog.get_logger("ours").info("within")
    unbind_unit_of_work(*ids)
    structlog.get_logger("ours").info("after")
    within, after = json_lines.parsed()
    assert within.items() >= ids.items()
    assert not after.keys() & ids.keys()
    assert "internal_id" not in UNIT_OF_WORK


def test_a_long_value_and_a_long_line_are_cut_and_stay_json(json_lines: Lines) -> None:
    structlog.get_logger("ours").info("long.value", text="x" * 100_000)
    structlog.get_logger("ours").info("long.line", **{f"f{n}": "y" * 3_900 for n in range(50)}, request_id="req_1")
    value, line = json_lines.parsed()
    assert len(value["text"]) < LONGEST_TEXT + 100
    assert line["event"] == "long.line"
    assert line["request_id"] == "req_1"
    assert max(map(len, json_lines.text.splitlines())) <= LONGEST_LINE


def test_a_secret_at_the_cut_does_not_survive_it() -> None:
    key = SHAPES["our key"]
    for at in range(LONGEST_TEXT // 2 - 80, LONGEST_TEXT // 2 + 1, 5):
        text = redact(None, "", {"text": " " * at + key + " " * LONGEST_TEXT})["text"]
        assert key[:24] not in text


def test_a_process_that_dies_says_so_in_one_json_line_without_the_secret(tmp_path: Path) -> None:
    program = (
        "from config.logging_setup import configure_logs\n"
        "configure_logs('INFO', 'json', 'dying')\n"
        f"raise RuntimeError('with {SHAPES['our key']}')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert line["process"] == "dying"
    assert "RuntimeError" in line["exception"]
    assert secret_part(SHAPES["our key"]) not in done.stderr


def test_the_cost_of_a_line_is_printed(json_lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    event = {
        "event": "request.handled", "level": "info", "timestamp": "2026-01-01T00:00:00Z", "process": "api",
        "request_id": random_id(Prefix.REQUEST), "namespace_id": random_id(Prefix.NAMESPACE), "key_id": "key_abcdef",
        "route": "retrievers.execute", "method": "POST", "status": 200, "ms": 12.3, "audit": None, "replayed": False,
    }  # fmt: skip
    rounds = 2_000
    started = time.perf_counter()
    for _ in range(rounds):
        redact(None, "", event)
    alone = (time.perf_counter() - started) / rounds
    log = structlog.get_logger("ours")
    started = time.perf_counter()
    for _ in range(rounds):
        log.info(
            "request.handled", **{name: value for name, value in event.items() if name not in ("event", "process")}
        )
    whole = (time.perf_counter() - started) / rounds
    with capsys.disabled():
        print(f"\nredaction {alone * 1e6:.1f} µs of {whole * 1e6:.1f} µs a line")
    assert len(json_lines.parsed()) == rounds
