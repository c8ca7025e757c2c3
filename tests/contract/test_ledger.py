"""The ledger on a real database: once per operation, never below zero, one end for each hold, whatever the race."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from core.clock import DatabaseClock, now
from core.credits.entry import Balance, EntryKind
from core.credits.ledger import Ledger
from core.errors import ConflictError, InsufficientCreditsError, IntegrityError
from core.storage.handles import Handles
from core.storage.scope import NamespaceScope


@pytest.fixture
def ledger(handles: Handles, scope: NamespaceScope) -> Ledger:
    ledger = Ledger(handles, DatabaseClock(now))
    ledger.grant(scope, "grant:first", 10_000)
    return ledger


def test_a_hold_reserves_and_a_capture_charges_and_gives_the_rest_back(ledger: Ledger, scope: NamespaceScope) -> None:
    hold = ledger.hold(scope, "task_a", 3_000)
    assert ledger.balance(scope) == Balance(posted=10_000, held=3_000)
    ledger.capture(scope, hold, 1_200)
    assert ledger.balance(scope) == Balance(posted=8_800, held=0)


def test_each_operation_happens_once(ledger: Ledger, scope: NamespaceScope) -> None:
    holds = [ledger.hold(scope, "task_a", 3_000) for _ in range(3)]
    captures = [ledger.capture(scope, holds[0], 3_000) for _ in range(3)]
    assert {entry.seq for entry in holds} == {2}
    assert {entry.seq for entry in captures} == {3}


def test_a_hold_ends_only_once(ledger: Ledger, scope: NamespaceScope) -> None:
    hold = ledger.hold(scope, "task_a", 3_000)
    ledger.release(scope, hold)
    with pytest.raises(ConflictError):
        ledger.capture(scope, hold, 3_000)
    assert ledger.balance(scope) == Balance(posted=10_000, held=0)


def test_the_same_operation_with_another_amount_is_refused(ledger: Ledger, scope: NamespaceScope) -> None:
    ledger.hold(scope, "task_a", 3_000)
    with pytest.raises(IntegrityError):
        ledger.hold(scope, "task_a", 4_000)


def test_a_hold_beyond_what_is_available_is_refused_and_changes_nothing(ledger: Ledger, scope: NamespaceScope) -> None:
    ledger.hold(scope, "task_a", 9_000)
    with pytest.raises(InsufficientCreditsError) as refused:
        ledger.hold(scope, "task_b", 1_500)
    assert refused.value.details == {"required": 2, "available": 1, "retryable": False}
    assert ledger.balance(scope) == Balance(posted=10_000, held=9_000)


def test_a_hold_that_used_the_credits_up_is_found_again(ledger: Ledger, scope: NamespaceScope) -> None:
    first = ledger.hold(scope, "task_a", 10_000)
    assert ledger.hold(scope, "task_a", 10_000) == first


def test_concurrent_holds_never_take_more_than_there_is(
    ledger: Ledger, handles: Handles, scope: NamespaceScope
) -> None:
    def hold(number: int) -> bool:
        try:
            # a ledger of its own, as another process would have
            Ledger(handles, DatabaseClock(now)).hold(scope, f"task_{number}", 1_000)
        except InsufficientCreditsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        accepted = sum(pool.map(hold, range(24)))
    assert accepted == 10
    assert ledger.balance(scope) == Balance(posted=10_000, held=10_000)


def test_the_chain_has_no_gap_and_every_hash_holds(ledger: Ledger, scope: NamespaceScope) -> None:
    for number in range(4):
        ledger.capture(scope, ledger.hold(scope, f"task_{number}", 500), 100)
    entries = ledger.statement(scope)
    assert [entry.seq for entry in entries] == list(range(1, 10))
    assert all(entry.hash == entry.computed_hash() for entry in entries)
    assert all(after.prev_hash == before.hash for before, after in pairwise(entries))


def test_a_new_process_finds_the_head_from_the_hint(ledger: Ledger, handles: Handles, scope: NamespaceScope) -> None:
    for number in range(60):
        ledger.hold(scope, f"task_{number}", 1)
    assert Ledger(handles, DatabaseClock(now)).balance(scope) == Balance(posted=10_000, held=60)


def test_organizations_do_not_see_one_another(ledger: Ledger, handles: Handles, scope: NamespaceScope) -> None:
    other = NamespaceScope("int_other", "ns_other")
    ledger.hold(scope, "task_a", 1_000)
    assert ledger.balance(other) == Balance(0, 0)
    assert ledger.entries_of(other, "task_a") == []
    assert [entry.kind for entry in ledger.entries_of(scope, "task_a")] == [EntryKind.HOLD]
