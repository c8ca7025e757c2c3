"""One form for every time that leaves: answers, events, and what a command prints."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from api.registry import ROUTES
from api.schemas.fields import Answer, View
from api.wire import encode
from cli.operators.session import print_json, show
from core.outgoing import rfc3339, to_json
from core.webhooks.event import Event, EventType, Subject

ROOT = Path(__file__).parents[2]
WHOLE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FORM = "2026-01-02T03:04:05.000000Z"


class _Timed(Answer):
    at: datetime
    inside: dict[str, Any]


@pytest.mark.parametrize(
    "moment",
    [WHOLE, WHOLE.replace(tzinfo=None), WHOLE.astimezone(timezone(timedelta(hours=5, minutes=45)))],
)
def test_a_whole_second_keeps_its_fraction_whatever_the_zone(moment: datetime) -> None:
    assert rfc3339(moment) == FORM
    assert rfc3339(moment + timedelta(milliseconds=7)) == "2026-01-02T03:04:05.007000Z"


def test_answers_events_and_commands_write_it_alike(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(encode(_Timed(at=WHOLE, inside={"list": [WHOLE, {"deep": WHOLE}]})))
    assert answer == {"at": FORM, "inside": {"list": [FORM, {"deep": FORM}]}}
    event = Event("evt_1", EventType.RESOURCE_EXECUTED, WHOLE, "ns_1", Subject("retriever", "ret_1"), {"when": WHOLE})
    body = json.loads(event.body())
    assert (body["occurred_at"], body["metadata"]["when"]) == (FORM, FORM)
    print_json({"at": WHOLE})
    assert json.loads(capsys.readouterr().out) == {"at": FORM}
    show([{"at": WHOLE}], as_json=False)
    assert FORM in capsys.readouterr().out


def test_what_json_has_no_form_for_is_an_error_unless_somebody_writes_it() -> None:
    assert to_json({"day": date(2026, 1, 2)}) == b'{"day":"2026-01-02"}'
    with pytest.raises(TypeError):
        to_json({"path": ROOT})
    assert to_json({"path": Path("/x")}, unknown=str) == b'{"path":"/x"}'


def test_no_answer_has_a_time_that_was_written_by_hand() -> None:
    """A field that is a time is one in its model, so that the one function writes it."""
    names = {name for model in _models() for name, info in model.items() if info.annotation is str}
    assert {name for name in names if name.endswith("_at") or "timestamp" in name} == set()


def _models() -> Iterator[Mapping[str, Any]]:
    assert ROUTES, "which has every schema imported"
    pending: list[type[View]] = [View]
    while pending:
        model = pending.pop()
        pending += model.__subclasses__()
        yield model.model_fields


def test_nobody_else_writes_times() -> None:
    """What is signed or compared is no text for the outside, and keeps its form."""
    own = {
        "core/outgoing.py",
        "core/audit/checkpoint.py",
        "core/tenancy/api_key.py",
        "core/retrievers/instants.py",
    }
    written = re.compile(r"\.isoformat\(|OPT_UTC_Z|strftime\(.*%f")
    found = {
        str(path.relative_to(ROOT))
        for room in ("api", "core", "workers", "cli")
        for path in (ROOT / room).rglob("*.py")
        if written.search(path.read_text())
    }
    assert found <= own
