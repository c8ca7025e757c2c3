"""Follows a chain from a place that is known to be true, and says what is wrong with it. Pure.

It trusts nothing that it reads: an entry by its MAC, its place by the entry before, the end by the head, and all of
that by signed checkpoints, which whoever holds only the database and the chain's key cannot make.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.audit.checkpoint import Checkpoint, Verifier
from core.audit.entry import NOTHING, Tip, is_genuine
from core.audit.head import genuine_tip
from core.storage.keyring import Keyring


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    seq: int | None
    """the entry's number, where it is about one"""
    problem: str


@dataclass(frozen=True)
class Witness:
    """Somebody other than the entries who says where the chain stood."""

    tip: Tip
    name: str


def head_witness(keyring: Keyring, head: Mapping[str, Any] | None) -> Witness | Finding:
    """What the head record says, or what is wrong with it."""
    if head is None:
        return Finding(None, "the head record is missing")
    tip = genuine_tip(keyring, head)
    return Finding(None, "the head record was changed") if tip is None else Witness(tip, "the head record")


class ChainCheck:
    """One walk along the entries of one organization."""

    def __init__(self, keyring: Keyring, internal_id: str, witnesses: Sequence[Witness], start: Tip = NOTHING) -> None:
        self._keyring = keyring
        self._internal_id = internal_id
        self._witnesses = witnesses
        self._previous = start
        self.entries = 0

    @property
    def tip(self) -> Tip:
        """The end of the chain, as far as it was walked."""
        return self._previous

    def walk(self, documents: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
        """What is wrong with entries in the order of their numbers, and with where they end."""
        for document in documents:
            self.entries += 1
            yield from self._step(document)
        end = max((witness.tip.seq for witness in self._witnesses), default=0)
        if end > self._previous.seq:
            yield _missing(self._previous.seq + 1, end)

    def _step(self, document: Mapping[str, Any]) -> Iterator[Finding]:
        seq, mac = document.get("seq"), document.get("mac")
        if not isinstance(seq, int) or seq <= self._previous.seq:
            yield Finding(None, f"an entry stands outside the chain, with the number {seq!r}")
            return
        follows = seq == self._previous.seq + 1
        if not follows:
            yield _missing(self._previous.seq + 1, seq - 1)
        if document.get("internal_id") != self._internal_id or not is_genuine(self._keyring, document):
            yield Finding(seq, "the entry is not what was written")
        elif follows and document.get("prev_mac") != self._previous.mac:
            yield Finding(seq, "the entry does not follow the one before it")
        for witness in self._witnesses:
            if witness.tip.seq == seq and witness.tip.mac != mac:
                yield Finding(seq, f"{witness.name} knows another entry of this number")
        self._previous = Tip(seq, str(mac))


def check_checkpoints(
    verifier: Verifier,
    organization_id: str,
    database: Sequence[Mapping[str, Any]],
    archive: Sequence[Mapping[str, Any]],
) -> tuple[list[Witness], list[Finding]]:
    """What the checkpoints of both places bear witness to, and what is wrong with them."""
    findings: list[Finding] = []
    places: dict[str, set[Checkpoint]] = {}
    for place, stored in (("the database", database), ("the object storage", archive)):
        read = [Checkpoint.read(fields) for fields in stored]
        places[place] = {one for one in read if one and _is_own(verifier, organization_id, one)}
        findings += [Finding(None, f"a checkpoint in {place} was changed") for one in read if one not in places[place]]
    every = set().union(*places.values())
    for place, found in places.items():
        findings += [Finding(one.seq, f"checkpoint {one.number} is missing in {place}") for one in every - found]
    findings += _gaps(every)
    return [Witness(one.tip, f"checkpoint {one.number}") for one in every], findings


def _is_own(verifier: Verifier, organization_id: str, checkpoint: Checkpoint) -> bool:
    return checkpoint.organization_id == organization_id and verifier.is_signed(checkpoint)


def _gaps(checkpoints: Iterable[Checkpoint]) -> Iterator[Finding]:
    numbers = {one.number for one in checkpoints}
    for number in sorted(set(range(1, max(numbers, default=0))) - numbers):
        yield Finding(None, f"checkpoint {number} is missing in both places")


def _missing(first: int, last: int) -> Finding:
    which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
    return Finding(first, f"{which} missing")
