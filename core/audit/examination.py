"""Examines an organization's whole log against its chain, its head and its checkpoints of both places. Only reads."""

from collections.abc import Iterator, Set
from dataclasses import dataclass

from core.audit.checkpoint import Verifier
from core.audit.checkpoint_store import CheckpointStore
from core.audit.entry import NOTHING, Tip
from core.audit.trail import AuditTrail
from core.audit.verification import ChainCheck, Finding, Witness, check_checkpoints, head_witness
from core.storage.keyring import Keyring
from core.storage.scope import OrganizationScope
from core.tenancy.tenant import Organization

_FINDINGS = 1000
"""Findings that one report holds; a log with more is past being described entry by entry."""


@dataclass(frozen=True)
class Examination:
    """What is known about one organization's log."""

    organization_id: str
    entries: int
    checkpoints: int
    vouched_until: int
    """the newest entry that a signed checkpoint covers"""
    findings: tuple[Finding, ...]


class Auditor:
    """Examines logs, with the audit keys and the public keys of the checkpoints."""

    def __init__(self, trail: AuditTrail, checkpoints: CheckpointStore, keyring: Keyring, verifier: Verifier) -> None:
        self._trail = trail
        self._checkpoints = checkpoints
        self._keyring = keyring
        self._verifier = verifier

    def examine(self, organization: Organization) -> Examination:
        """Check everything. Entries that are added meanwhile are no findings."""
        scope = organization.scope
        signed, findings = self._signed(organization)
        head = self._trail.stored_head(scope)
        stored = self._trail.count(scope)
        said = head_witness(self._keyring, head)
        witnesses = [*signed, *([said] if isinstance(said, Witness) else [])]
        check = ChainCheck(self._keyring, scope.internal_id, witnesses)
        for finding in self._walk(check, scope, witnesses):
            findings.append(finding)
            if len(findings) >= _FINDINGS:
                break
        if isinstance(said, Finding) and (head or check.entries or signed):
            findings.append(said)
        if len(findings) < _FINDINGS and check.entries < stored:
            findings.append(Finding(None, f"{stored - check.entries} entries stand outside the chain"))
        return Examination(
            organization.organization_id,
            check.entries,
            len(signed),
            max((witness.tip.seq for witness in signed), default=0),
            tuple(findings),
        )

    def lost(self, known: Set[str]) -> Iterator[Examination]:
        """Organizations that have signed checkpoints in the object storage, and are no longer in the database."""
        for organization_id in sorted(set(self._checkpoints.archived_organizations()) - known):
            gone = Finding(None, "the object storage has checkpoints of this organization, the database has not")
            yield Examination(organization_id, 0, 0, 0, (gone,))

    def check_from(self, scope: OrganizationScope, start: Tip, until: int) -> tuple[Tip, list[Finding]]:
        """Check the entries after `start` against chain and head: where they end, and what is wrong with them."""
        said = head_witness(self._keyring, self._trail.stored_head(scope))
        if isinstance(said, Finding):
            return start, [said]
        check = ChainCheck(self._keyring, scope.internal_id, [said], start)
        documents = self._trail.stored_entries(scope, start.seq, max(until, said.tip.seq))
        findings = list(check.walk(documents))
        return check.tip, findings

    def _walk(self, check: ChainCheck, scope: OrganizationScope, witnesses: list[Witness]) -> Iterator[Finding]:
        until = max((witness.tip.seq for witness in witnesses), default=0)
        return check.walk(self._trail.stored_entries(scope, NOTHING.seq, until))

    def _signed(self, organization: Organization) -> tuple[list[Witness], list[Finding]]:
        """What the checkpoints say. Looks twice: one may have been between its two places."""
        witnesses, findings = self._compare(organization)
        return self._compare(organization) if findings else (witnesses, findings)

    def _compare(self, organization: Organization) -> tuple[list[Witness], list[Finding]]:
        database = list(self._checkpoints.in_database(organization.scope))
        archive = list(self._checkpoints.in_archive(organization.organization_id))
        witnesses, findings = check_checkpoints(self._verifier, organization.organization_id, database, archive)
        if (stored := self._checkpoints.count(organization.scope)) > len(database) + len(findings):
            findings.append(Finding(None, f"{stored - len(database)} checkpoints stand outside the numbering"))
        return witnesses, findings
