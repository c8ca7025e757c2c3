"""Decides when a chain gets a signed checkpoint, and makes it. The sweeper's work; nobody else has the key.

A chain is checked from the last checkpoint on before its end is signed: a forged log never gets a true signature.
"""

import time
from dataclasses import dataclass
from datetime import timedelta

import structlog

from core.audit.checkpoint import Checkpoint, Signer, Verifier
from core.audit.checkpoint_store import CheckpointStore
from core.audit.entry import NOTHING, Tip
from core.audit.examination import Auditor
from core.audit.trail import AuditTrail
from core.clock import DatabaseClock
from core.errors import NotFoundError
from core.recent import Recent
from core.storage.paging import BEGINNING
from core.storage.scope import OrganizationScope
from core.tenancy.organization_store import OrganizationStore

_OVERLAP = timedelta(seconds=30)
"""Heads are looked at again for this long: their times come from several machines."""
_HEADS = 500
_MOST_CHAINS = 20_000
"""Chains whose last checkpoint is remembered, some 20 MB; one that was forgotten costs two reads when it is due."""
_MOST_MOVED = 50_000
"""Chains that wait for their checkpoint, some 10 MB; beyond, the look at what moved waits too."""
_BUDGET_SECONDS = 1.0
"""What one run may take: the sweeper has jobs to ring for, and a lead to hold."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Schedule:
    """When a chain with new entries is due."""

    entries: int
    age: timedelta


@dataclass(frozen=True)
class _Chain:
    """What is known about a chain that has moved."""

    scope: OrganizationScope
    organization_id: str
    last: Checkpoint | None


class Checkpointer:
    """Makes the checkpoints of every organization. For one thread."""

    def __init__(
        self,
        trail: AuditTrail,
        checkpoints: CheckpointStore,
        auditor: Auditor,
        organizations: OrganizationStore,
        clock: DatabaseClock,
        signer: Signer,
        verifier: Verifier,
        schedule: Schedule,
    ) -> None:
        self._trail = trail
        self._checkpoints = checkpoints
        self._auditor = auditor
        self._organizations = organizations
        self._clock = clock
        self._signer = signer
        self._verifier = verifier
        self._schedule = schedule
        self._looked_until = BEGINNING
        self._moved: dict[str, int] = {}
        self._chains = Recent[str, _Chain](_MOST_CHAINS)

    def run(self) -> list[Checkpoint]:
        """Make checkpoints that are due, for a second at most; what is left waits for the next run."""
        self._look_at_heads()
        until = time.monotonic() + _BUDGET_SECONDS
        made = []
        for internal_id in list(self._moved):
            # to the end, so that chains which are not due yet never keep others from their turn
            seq = self._moved[internal_id] = self._moved.pop(internal_id)
            if checkpoint := self._visit(OrganizationScope(internal_id), seq):
                made.append(checkpoint)
            if time.monotonic() > until:
                break
        return made

    def _visit(self, scope: OrganizationScope, seq: int) -> Checkpoint | None:
        """Make the checkpoint of a chain that has moved to `seq`, if it is due."""
        try:
            chain = self._chain(scope)
        except NotFoundError:
            log.error("audit.log_without_organization", entries=seq)
            del self._moved[scope.internal_id]
            return None
        if seq <= (chain.last.seq if chain.last else 0):
            del self._moved[scope.internal_id]
            return None
        return self._make(chain) if self._is_due(chain, seq) else None

    def _look_at_heads(self) -> None:
        """Note the chains that moved since the last look."""
        end = self._clock.now() + _OVERLAP
        # those beyond the bound are found once there is room: the look goes on from where it stopped
        while len(self._moved) < _MOST_MOVED:
            heads = self._trail.heads_moved_between(self._looked_until, end, _HEADS)
            for head in heads:
                # what a forged head says is looked into before anything is signed
                self._moved[str(head["internal_id"])] = head["seq"] if isinstance(head["seq"], int) else 1
            if len(heads) < _HEADS or heads[-1]["at"] == self._looked_until:
                self._looked_until = end - 2 * _OVERLAP
                return
            self._looked_until = heads[-1]["at"]

    def _is_due(self, chain: _Chain, seq: int) -> bool:
        if chain.last is None:
            return True
        old = self._clock.now() - chain.last.moment >= self._schedule.age
        return old or seq - chain.last.seq >= self._schedule.entries

    def _make(self, chain: _Chain) -> Checkpoint | None:
        last = chain.last
        tip, findings = self._auditor.check_from(chain.scope, last.tip if last else NOTHING, last.seq if last else 0)
        if findings or tip == (last.tip if last else NOTHING):
            problems = [f"{finding.seq or ''} {finding.problem}".strip() for finding in findings[:10]]
            log.error("audit.checkpoint_refused", organization_id=chain.organization_id, problems=problems)
            return None
        return self._write(chain, tip)

    def _write(self, chain: _Chain, tip: Tip) -> Checkpoint | None:
        number = chain.last.number + 1 if chain.last else 1
        checkpoint = self._signer.sign(chain.organization_id, number, tip, self._clock.now())
        if not self._checkpoints.write(chain.scope, checkpoint):
            # another sweeper was first: look again at what is there
            log.warning("audit.checkpoint_number_taken", organization_id=chain.organization_id, number=number)
            self._chains.drop(chain.scope.internal_id)
            return None
        self._chains.put(chain.scope.internal_id, _Chain(chain.scope, chain.organization_id, checkpoint))
        log.info("audit.checkpoint_made", organization_id=chain.organization_id, number=number, seq=tip.seq)
        return checkpoint

    def _chain(self, scope: OrganizationScope) -> _Chain:
        """A chain with its last checkpoint; the first time, one that a crash left in one place only is completed."""
        if known := self._chains.get(scope.internal_id, None):
            return known
        organization_id = self._organizations.get(scope).organization_id
        read = [Checkpoint.read(fields) for fields in self._checkpoints.in_database(scope)]
        # a forged one would vouch for what it likes
        signed = [one for one in read if one and self._verifier.is_signed(one)]
        newest = max(signed, key=lambda one: one.number, default=None)
        if newest and self._checkpoints.complete(newest):
            log.warning("audit.checkpoint_completed", organization_id=organization_id, number=newest.number)
        chain = _Chain(scope, organization_id, newest)
        self._chains.put(scope.internal_id, chain)
        return chain
