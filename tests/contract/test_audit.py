"""The audit log on a real database: one unbroken chain whoever writes, and checkpoints that outlive its keys."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import ServerSelectionTimeoutError

from core.audit.actions import AuditAction
from core.audit.checkpointer import Schedule
from core.audit.entry import NOTHING, AuditEntry, AuditRecord, AuditStatus, next_entry
from core.audit.head import sealed_head
from core.audit.pages import LogFilter
from core.audit.recorder import Recorder
from core.audit.trail import AuditSettings, AuditTrail
from core.backends.backend import Backend
from core.clock import now
from core.errors import BackendAwayError, NotFoundError, UnavailableError
from core.storage.blobs import BlobStore
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document
from core.storage.paging import PageRequest
from core.storage.scope import OrganizationScope
from core.tenancy.tenant import Organization
from tests.audit_log import CLOCK, KEYRING, AuditWorld, configured, record
from tests.lost_answers import lost_answer


@pytest.fixture
def world(handles: Handles, tmp_path: Path) -> AuditWorld:
    return AuditWorld(handles, tmp_path / "blobs", Schedule(10, timedelta(hours=1)))


@pytest.fixture
def organization(world: AuditWorld) -> Organization:
    return world.organization()


def _chain(trail: AuditTrail, scope: OrganizationScope) -> list[AuditEntry]:
    return [AuditEntry.from_document(document) for document in trail.stored_entries(scope, 0, 0)]


# The chain --------------------------------------------------------------------------------------------


def test_writers_of_several_processes_keep_one_unbroken_chain(world: AuditWorld, organization: Organization) -> None:
    trails = [world.trail() for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda n: trails[n % 3].append(organization.scope, record(n)), range(120)))
    chain = _chain(trails[0], organization.scope)
    assert [entry.seq for entry in chain] == list(range(1, 121))
    assert {entry.audit_id for entry in written} == {entry.audit_id for entry in chain}
    assert all(after.prev_mac == before.mac for before, after in pairwise(chain))
    assert world.problems(organization) == []


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("write", [("audit", "insert_one"), ("audit_heads", "update_one")], ids=["entry", "head"])
def test_a_broken_connection_costs_no_entry_and_doubles_none(
    world: AuditWorld, organization: Organization, write: tuple[str, str], landed: bool
) -> None:
    trail = world.trail()
    with lost_answer(*write, landed=landed):
        written = [trail.append(organization.scope, record(n)).audit_id for n in range(2)]
    assert [entry.audit_id for entry in _chain(trail, organization.scope)] == written
    assert world.problems(organization) == []


def test_two_organizations_have_chains_of_their_own(world: AuditWorld, organization: Organization) -> None:
    other, trail = world.organization(), world.trail()
    first = trail.append(organization.scope, record())
    assert (first.seq, trail.append(other.scope, record()).seq) == (1, 1)
    with pytest.raises(NotFoundError):
        trail.get(other.scope, first.audit_id)


def test_a_crash_between_entry_and_head_is_no_finding_and_the_next_entry_follows(
    world: AuditWorld, organization: Organization, database: Database[Document]
) -> None:
    first = world.trail().append(organization.scope, record(1))
    lone = next_entry(
        record(2),
        KEYRING.newest,
        first.tip,
        audit_id="aud_lone",
        internal_id=organization.internal_id,
        at=now(),
    )
    database["audit"].insert_one(lone.to_document())
    assert world.problems(organization) == []
    assert world.trail().append(organization.scope, record(3)).seq == 3
    assert world.problems(organization) == []


def test_a_crash_before_the_first_entry_is_no_finding(
    world: AuditWorld, organization: Organization, database: Database[Document]
) -> None:
    database["audit_heads"].insert_one(sealed_head(KEYRING.newest, organization.internal_id, NOTHING, now()))
    assert world.problems(organization) == []
    assert world.trail().append(organization.scope, record()).seq == 1


def test_going_on_after_a_cut_tail_does_not_hide_it(
    world: AuditWorld, organization: Organization, database: Database[Document]
) -> None:
    for number in range(6):
        world.trail().append(organization.scope, record(number))
    database["audit"].delete_many({"internal_id": organization.internal_id, "seq": {"$gte": 4}})
    assert world.trail().append(organization.scope, record()).seq == 7
    assert world.problems(organization) == ["4: entries 4 to 6 are missing"]


@pytest.mark.parametrize("damage", ["delete", "forge"])
def test_going_on_without_a_genuine_head_does_not_make_one(
    world: AuditWorld, organization: Organization, database: Database[Document], damage: str
) -> None:
    for number in range(6):
        world.trail().append(organization.scope, record(number))
    database["audit"].delete_one({"internal_id": organization.internal_id, "seq": 6})
    if damage == "delete":
        database["audit_heads"].delete_one({"_id": organization.internal_id})
    else:
        database["audit_heads"].update_one({"_id": organization.internal_id}, {"$set": {"seq": 5}})
    assert world.trail().append(organization.scope, record()).seq == 6
    said = {"delete": "missing", "forge": "changed"}[damage]
    assert any(said in problem for problem in world.problems(organization))


def test_a_retired_key_still_checks_what_it_sealed(world: AuditWorld, organization: Organization) -> None:
    AuditTrail(world.handles, CLOCK, Keyring("test", [configured("k1", 1)])).append(organization.scope, record())
    world.trail().append(organization.scope, record())
    assert [entry.key_id for entry in _chain(world.trail(), organization.scope)] == ["k1", "k2"]
    assert world.problems(organization) == []


# Reading ----------------------------------------------------------------------------------------------


def test_pages_are_newest_first_and_every_filter_narrows(world: AuditWorld, organization: Organization) -> None:
    trail, scope = world.trail(), organization.scope
    for number in range(6):
        trail.append(scope, record(number, AuditAction.BUCKET_CREATED if number % 2 else AuditAction.TASK_CANCELLED))
    page = trail.page(scope, LogFilter(), PageRequest(2, 1, include_total=True))
    assert ([entry.seq for entry in page.records], page.total) == ([5, 4], 6)

    def seqs(wanted: LogFilter) -> list[int]:
        return [entry.seq for entry in trail.page(scope, wanted, PageRequest()).records]

    assert seqs(LogFilter(action="bucket_created")) == seqs(LogFilter(resource_type="bucket")) == [6, 4, 2]
    assert seqs(LogFilter(actor_id="key_0", resource_type="bucket")) == [4]
    assert seqs(LogFilter(resource_id="wh_3")) == [4]
    assert seqs(LogFilter(namespace_id="ns_other")) == []
    fourth = trail.page(scope, LogFilter(resource_id="wh_3"), PageRequest(1)).records[0].at
    assert {4} <= set(seqs(LogFilter(start=fourth, end=fourth)))
    assert seqs(LogFilter(end=fourth - timedelta(days=365))) == seqs(LogFilter(start=now() + timedelta(hours=1))) == []
    exported, cut = trail.export(scope, LogFilter(), 4)
    assert ([entry.seq for entry in exported], cut) == ([6, 5, 4, 3], True)
    assert not trail.export(scope, LogFilter(), 6)[1]


def test_reads_are_recorded_only_by_choice(world: AuditWorld, organization: Organization) -> None:
    trail = world.trail()
    assert trail.settings(organization.scope) == AuditSettings(read_auditing_enabled=False)
    trail.update_settings(organization.scope, AuditSettings(read_auditing_enabled=True))
    assert trail.settings(organization.scope) == AuditSettings(read_auditing_enabled=True)
    with pytest.raises(NotFoundError):
        trail.update_settings(OrganizationScope("int_none"), AuditSettings())


# The recorder -----------------------------------------------------------------------------------------


def test_what_must_be_certain_is_recorded_before_and_after(world: AuditWorld, organization: Organization) -> None:
    recorder = Recorder(world.trail())
    for action in (AuditAction.SECRET_DELETED, AuditAction.BUCKET_CREATED, AuditAction.RETRIEVER_EXECUTED):
        recorder.before(organization.scope, record(1, action))
        recorder.after(organization.scope, record(1, action), read_auditing=False)
    recorder.close()
    chain = _chain(world.trail(), organization.scope)
    assert [(entry.action, entry.status) for entry in chain] == [
        ("secret_deleted", "attempted"),
        ("secret_deleted", "success"),
        ("bucket_created", "success"),
    ]


def test_reads_are_recorded_beside_the_request_and_none_is_lost_at_the_end(
    world: AuditWorld, organization: Organization
) -> None:
    recorder = Recorder(world.trail())
    for number in range(30):
        recorder.after(organization.scope, record(number, AuditAction.RETRIEVER_EXECUTED), read_auditing=True)
    recorder.close()
    assert (world.trail().count(organization.scope), recorder.dropped) == (30, 0)


class _BrokenTrail(AuditTrail):
    """A log whose database is away, or holds each writer until it may go on."""

    def __init__(self, world: AuditWorld, may_go_on: threading.Event | None = None) -> None:
        super().__init__(world.handles, None, KEYRING)  # type: ignore[arg-type]  # never asked for the time
        self._may_go_on = may_go_on

    def append(self, scope: OrganizationScope, record: AuditRecord) -> AuditEntry:
        if self._may_go_on:
            self._may_go_on.wait(30)
        raise ServerSelectionTimeoutError("no database")


def test_an_action_that_cannot_be_recorded_is_refused(world: AuditWorld, organization: Organization) -> None:
    recorder = Recorder(_BrokenTrail(world))
    with pytest.raises(UnavailableError):
        recorder.before(organization.scope, record(1, AuditAction.SECRET_CREATED))
    recorder.before(organization.scope, record(1, AuditAction.BUCKET_CREATED))
    recorder.after(organization.scope, record(1, AuditAction.BUCKET_CREATED), read_auditing=False)
    assert recorder.dropped == 1


def test_what_finds_the_queue_full_is_counted(world: AuditWorld, organization: Organization) -> None:
    may_go_on = threading.Event()
    recorder = Recorder(_BrokenTrail(world, may_go_on), queue_size=5)
    for number in range(20):
        recorder.after(organization.scope, record(number, AuditAction.RETRIEVER_EXECUTED), read_auditing=True)
    # one may be in the thread's hands
    assert recorder.dropped in {14, 15}
    may_go_on.set()
    recorder.close()
    assert recorder.dropped == 20


def test_a_flood_of_denials_is_counted_to_the_last_one(world: AuditWorld, organization: Organization) -> None:
    recorder = Recorder(world.trail())
    denied = replace(record(1, AuditAction.PERMISSION_DENIED), status=AuditStatus.DENIED)
    for _ in range(250):
        recorder.denied(organization.scope, denied)
    recorder.close()
    counts = [entry.count for entry in _chain(world.trail(), organization.scope)]
    assert sum(counts) == 250
    # the minute may have changed under way
    assert 100 <= len(counts) <= 202


# Checkpoints ------------------------------------------------------------------------------------------


def _append(world: AuditWorld, organization: Organization, count: int) -> None:
    trail = world.trail()
    for number in range(count):
        trail.append(organization.scope, record(number))


def test_a_checkpoint_is_made_at_first_and_then_when_enough_is_new(
    world: AuditWorld, organization: Organization
) -> None:
    checkpointer = world.checkpointer()
    assert checkpointer.run() == []
    made = []
    for count in (3, 9, 1, 0):
        _append(world, organization, count)
        made.append([(one.number, one.seq) for one in checkpointer.run()])
    assert made == [[(1, 3)], [], [(2, 13)], []]
    assert world.problems(organization) == []
    examined = world.auditor().examine(organization)
    assert (examined.entries, examined.checkpoints, examined.vouched_until) == (13, 2, 13)


def test_a_checkpoint_is_made_when_the_last_one_is_old(
    handles: Handles, tmp_path: Path, database: Database[Document]
) -> None:
    world = AuditWorld(handles, tmp_path / "blobs", Schedule(1000, timedelta()))
    organization = world.organization()
    for expected in (1, 2):
        _append(world, organization, 1)
        # another sweeper each time: it finds the last one by itself
        assert [one.number for one in world.checkpointer().run()] == [expected]


def test_no_internal_id_leaves_for_the_object_storage(world: AuditWorld, organization: Organization) -> None:
    _append(world, organization, 1)
    world.checkpointer().run()
    (blob,) = [path for path in world.folder.rglob("*") if path.is_file()]
    assert str(blob.relative_to(world.folder)) == f"audit/{organization.organization_id}/1.json"
    assert organization.internal_id not in blob.read_text()


def test_a_checkpoint_that_a_crash_left_in_one_place_is_completed(
    world: AuditWorld, organization: Organization
) -> None:
    _append(world, organization, 1)
    (made,) = world.checkpointer().run()
    world.blobs.delete(made.blob_key)
    assert world.problems(organization) == ["1: checkpoint 1 is missing in the object storage"]
    assert world.checkpointer().run() == []
    assert world.problems(organization) == []


def test_checkpoints_that_met_no_object_storage_are_in_both_places_once_it_is_back(
    world: AuditWorld, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    _append(world, organization, 1)
    checkpointer = world.checkpointer()

    def away(_self: BlobStore, _key: str, _data: bytes) -> None:
        raise BackendAwayError(Backend.BLOBS)

    with monkeypatch.context() as patch:
        patch.setattr(BlobStore, "put", away)
        for _ in range(3):
            with suppress(BackendAwayError):
                checkpointer.run()
    assert world.problems(organization) == ["1: checkpoint 1 is missing in the object storage"]
    for _ in range(2):
        checkpointer.run()
    assert world.problems(organization) == []
    assert world.checkpoints.count(organization.scope) == 1


def test_a_log_that_is_not_genuine_is_not_signed(
    world: AuditWorld, organization: Organization, database: Database[Document]
) -> None:
    _append(world, organization, 3)
    database["audit"].update_one({"internal_id": organization.internal_id, "seq": 2}, {"$set": {"reason": "x"}})
    assert world.checkpointer().run() == []
    assert world.checkpoints.count(organization.scope) == 0


def test_whoever_holds_the_chains_key_cannot_rewrite_what_was_signed(
    world: AuditWorld, organization: Organization, database: Database[Document]
) -> None:
    _append(world, organization, 5)
    world.checkpointer().run()
    _rewrite(world, organization, database)
    assert world.problems(organization) == ["5: checkpoint 1 knows another entry of this number"]


def _rewrite(world: AuditWorld, organization: Organization, database: Database[Document]) -> None:
    """Another history with true seals: what somebody could make who took over the API and the database."""
    mine: dict[str, Any] = {"internal_id": organization.internal_id}
    for name in ("audit", "audit_heads"):
        database[name].delete_many(mine)
    for number in range(5):
        world.trail().append(organization.scope, record(number + 100))


def test_a_whole_organization_that_vanished_is_told_by_the_object_storage(
    world: AuditWorld, organization: Organization
) -> None:
    _append(world, organization, 1)
    world.checkpointer().run()
    assert list(world.auditor().lost({organization.organization_id})) == []
    (lost,) = world.auditor().lost(set())
    assert (lost.organization_id, len(lost.findings)) == (organization.organization_id, 1)
