"""What a request to an endpoint takes from the vault: what was sealed for its own organization, and nothing else.

And when the dispatcher looks again.
"""

import asyncio
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pytest
import uvloop

from config.settings import Settings
from core.audit.entry import AuditRecord
from core.backends.backend import Backend
from core.clock import now
from core.errors import BackendAwayError
from core.storage.scope import NamespaceScope, OrganizationScope
from core.vault.cipher import Cipher, DataKey
from core.webhooks.delivery import Attempt, AttemptResult
from core.webhooks.delivery_queue import ClaimedDelivery
from core.webhooks.endpoint import secret_record
from core.webhooks.endpoint_lines import DueDelivery
from core.webhooks.own_headers import header_fields
from workers.dispatcher import Dispatcher
from workers.endpoint_vault import EndpointVault, Opened


class Recording:
    """Keeps what it is told to record."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    def denied(self, _scope: OrganizationScope, record: AuditRecord) -> None:
        """Keep it."""
        self.records.append(record)


class OneKeyForAll:
    """Every organization's data key, which is the same here: only the record tells them apart."""

    def find(self, internal_id: str, version: int) -> DataKey:
        """The key."""
        return DataKey(internal_id, version, bytes(32))


CIPHER = Cipher(OneKeyForAll())


def claimed(secret_for: str, headers_for: str = "int_1") -> ClaimedDelivery:
    key = OneKeyForAll().find(secret_for, 1)
    secret = asdict(CIPHER.seal(key, secret_record(secret_for, "wh_1"), "a secret of mine"))
    headers = header_fields(CIPHER, OneKeyForAll().find(headers_for, 1), "wh_1", {"X-A": "a value of mine"})
    endpoint = {"_id": "wh_1", "secret": secret, **headers, "is_active": True}
    scope = NamespaceScope("int_1", "ns_1")
    return ClaimedDelivery("dlv_1", scope, "wh_1", "evt_1", "resource.executed", 1, 1, 1, b"{}", endpoint)


def opened(delivery: ClaimedDelivery) -> tuple[Opened | Attempt, list[str | None]]:
    recorder: Any = Recording()
    found = EndpointVault(CIPHER, recorder).open(delivery)
    return found, [record.reason for record in recorder.records]


def test_what_was_sealed_for_the_organization_is_sent() -> None:
    found, reasons = opened(claimed("int_1"))
    assert isinstance(found, Opened)
    headers = found.signed("evt_1", now(), b"{}")
    assert "webhook-signature" in headers
    assert (headers["X-A"], reasons) == ("a value of mine", [])
    assert "of mine" not in repr(found)


@pytest.mark.parametrize(
    ("delivery", "part"), [(claimed("int_2"), "signing_secret"), (claimed("int_1", "int_2"), "headers")]
)
def test_what_was_sealed_for_another_organization_is_not(delivery: ClaimedDelivery, part: str) -> None:
    found, reasons = opened(delivery)
    assert found == Attempt(AttemptResult.NOT_SENT, error=f"{part}_unreadable")
    assert reasons == [f"{part}_unreadable:dlv_1"]


def test_what_nobody_can_open_now_is_no_attempt_and_in_no_audit_log() -> None:
    class Away(OneKeyForAll):
        def find(self, internal_id: str, version: int) -> DataKey:
            raise BackendAwayError(Backend.KEY_SERVICE)

    recorder: Any = Recording()
    with pytest.raises(BackendAwayError):
        EndpointVault(Cipher(Away()), recorder).open(claimed("int_1"))
    assert recorder.records == []


@pytest.mark.parametrize(
    ("headers", "answer", "shown"),
    [
        ({"Authorization": "Bearer abcdefgh12"}, "you sent abcdefgh12", "you sent [redacted]"),
        (
            {"Authorization": "Bearer abcdefgh12"},
            '{"authorization": "Bearer abcdefgh12"}',
            '{"authorization": "[redacted]"}',
        ),
        ({"X-A": "a value / of mine"}, "a%20value%20%2F%20of%20mine", "[redacted]"),
        ({"X-A": "prod"}, "production", "production"),
        ({}, "abcdefgh12", "abcdefgh12"),
    ],
)
def test_an_answer_that_repeats_the_headers_is_kept_without_their_values(
    headers: dict[str, str], answer: str, shown: str
) -> None:
    attempt = Attempt(AttemptResult.REFUSED, 400, response_headers={"location": answer}, response_body=answer)
    kept = Opened(None, headers).kept(attempt)
    assert (kept.response_body, kept.response_headers) == (shown, {"location": shown})


@pytest.mark.parametrize("before", [4096 - 9, 4096 - 20, 4096, 10_000])
def test_no_part_of_a_value_is_kept_where_an_answer_is_cut(before: int) -> None:
    value = "0123456789abcdefghij"
    attempt = Attempt(
        AttemptResult.REFUSED, 400, response_headers={"server": "x" * 500 + value}, response_body="x" * before + value
    )
    kept = Opened(None, {"X-A": value}).kept(attempt)
    assert "0123" not in kept.response_body + kept.response_headers["server"]
    assert len(kept.response_body) <= 4096
    assert kept.response_headers == {"server": "x" * 500 + "[redacted]"}


def test_an_answer_that_repeats_the_query_of_its_url_is_kept_without_its_credentials() -> None:
    url = "https://example.com/hook?token=abc%2Bdefgh&env=prod"
    answer = '<a href="https://example.com/hook/?token=abc%2Bdefgh&amp;env=prod">, abc+defgh, prod'
    kept = Opened(None, {}, url).kept(Attempt(AttemptResult.REFUSED, 308, response_body=answer))
    assert kept.response_body == (
        '<a href="https://example.com/hook/?token=[redacted]&amp;env=prod">, [redacted], prod'
    )


class NothingNew:
    """A queue of due deliveries that counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    async def beat(self, *_: object) -> None:
        """Heard."""

    async def now(self) -> datetime:
        """The present."""
        return now()

    async def due_between(self, *_: object) -> list[tuple[datetime, DueDelivery]]:
        """None."""
        self.reads += 1
        return []

    async def next_due(self, *_: object) -> None:
        """None."""


@pytest.mark.parametrize(("room", "reads"), [(1, True), (0, False)])
def test_no_more_is_read_while_as_much_is_remembered_as_may_be(
    monkeypatch: pytest.MonkeyPatch, room: int, reads: bool
) -> None:
    queue: Any = NothingNew()
    dispatcher = Dispatcher(Settings(_env_file=None), queue, *[Any] * 4)  # type: ignore[arg-type]  # never asked here
    monkeypatch.setattr("workers.dispatcher._REMEMBERED", room)
    dispatcher.stop()
    asyncio.run(dispatcher._look_once())
    assert (queue.reads > 0) is reads


def test_looks_are_planned_for_the_earliest_time_whatever_was_planned_before() -> None:
    nobody: Any = None
    fired: list[int] = []

    async def plan() -> None:
        dispatcher = Dispatcher(Settings(_env_file=None), nobody, nobody, CIPHER, nobody, nobody)
        # the usual look comes before this one
        dispatcher._look_in(3600.0)
        assert dispatcher._next_look is None
        for number, seconds in enumerate((-1.0, 0.0, 0.5, 0.01, 0.9)):
            dispatcher._look_in(seconds)
            await dispatcher._look.wait()
            dispatcher._look.clear()
            fired.append(number)
        dispatcher._look_in(0.9)
        first = dispatcher._next_look
        dispatcher._look_in(0.95)
        assert dispatcher._next_look is first
        dispatcher._look_in(0.01)
        assert first is not None
        assert first.cancelled()
        await dispatcher._look.wait()

    uvloop.run(asyncio.wait_for(plan(), 60))
    assert fired == [0, 1, 2, 3, 4]
