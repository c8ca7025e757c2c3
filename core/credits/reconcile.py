"""Checks a ledger against itself: no gap, hashes that chain, sums that add up, holds that end once. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.credits.entry import Entry, EntryKind


@dataclass(frozen=True)
class Reconciliation:
    """What a ledger says about itself. Amounts in milli-credits."""

    entries: int
    granted: int
    captured: int
    held: int
    posted: int
    problems: tuple[str, ...]


def reconcile(entries: Sequence[Entry]) -> Reconciliation:
    """Recompute a whole ledger from its first entry."""
    posted = granted = captured = 0
    previous_hash = ""
    open_holds: dict[str, int] = {}
    problems: list[str] = []
    for number, entry in enumerate(entries, start=1):
        match entry.kind:
            case EntryKind.GRANT:
                granted, posted = granted + entry.amount, posted + entry.amount
            case EntryKind.HOLD:
                open_holds[str(entry.hold_id)] = entry.amount
            case EntryKind.CAPTURE | EntryKind.RELEASE:
                if open_holds.pop(str(entry.hold_id), None) is None:
                    problems.append(f"entry {entry.seq} ends a hold that is not open: {entry.hold_id}")
                if entry.kind is EntryKind.CAPTURE:
                    captured, posted = captured + entry.amount, posted - entry.amount
        if entry.seq != number:
            problems.append(f"entry {entry.seq} stands where {number} belongs")
        if (entry.posted_after, entry.held_after) != (posted, sum(open_holds.values())):
            problems.append(f"entry {entry.seq} carries a balance that does not add up")
        if entry.hash != entry.computed_hash() or entry.prev_hash != previous_hash:
            problems.append(f"entry {entry.seq} was changed after it was written")
        previous_hash = entry.hash
    return Reconciliation(len(entries), granted, captured, sum(open_holds.values()), posted, tuple(problems))
