"""Parts of the audit log for tests: its keys, records for it, and everything that writes and checks one database's."""

import base64
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from core.audit.actions import AuditAction
from core.audit.checkpoint import Signer, Verifier
from core.audit.checkpoint_store import CheckpointStore
from core.audit.checkpointer import Checkpointer, Schedule
from core.audit.entry import Actor, ActorType, AuditRecord, AuditStatus
from core.audit.examination import Auditor
from core.audit.trail import AuditTrail
from core.clock import DatabaseClock, now
from core.storage.blobs import BlobStore
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.tenancy.organization_store import OrganizationStore
from core.tenancy.tenant import Organization

CLOCK = DatabaseClock(now)


def configured(key_id: str, byte: int) -> SecretStr:
    """A key as the settings give it."""
    return SecretStr(f"{key_id}:{base64.urlsafe_b64encode(bytes([byte]) * 32).decode()}")


KEYRING = Keyring("test", [configured("k2", 2), configured("k1", 1)])
SCHEDULE = Schedule(entries=70, age=timedelta(hours=1))
SIGNER = Signer(configured("s1", 7))


def record(number: int = 1, action: AuditAction = AuditAction.WEBHOOK_CREATED) -> AuditRecord:
    """A record with every field filled."""
    return AuditRecord(
        action=action,
        resource_type=action.resource_type,
        resource_id=f"wh_{number}",
        status=AuditStatus.SUCCESS,
        actor=Actor(f"key_{number % 3}", ActorType.API_KEY, "Ada", "ada@example.com", "ci"),
        reason="none",
        request_id=f"req_{number}",
        ip_address="192.0.2.7",
        user_agent="curl/8",
        namespace_id="ns_1",
    )


@dataclass(frozen=True)
class AuditWorld:
    """Everything about the logs of one database and one folder of blobs."""

    handles: Handles
    folder: Path
    schedule: Schedule = SCHEDULE

    @property
    def blobs(self) -> BlobStore:
        """The object storage."""
        return BlobStore(self.folder.as_uri())

    @property
    def organizations(self) -> OrganizationStore:
        """The organizations."""
        return OrganizationStore(self.handles)

    @property
    def checkpoints(self) -> CheckpointStore:
        """Both places of checkpoints."""
        return CheckpointStore(self.handles, self.blobs)

    def trail(self) -> AuditTrail:
        """A log of its own memory, as another process would have."""
        return AuditTrail(self.handles, CLOCK, KEYRING)

    def auditor(self) -> Auditor:
        """What `keystage audit verify` runs."""
        return Auditor(self.trail(), self.checkpoints, KEYRING, Verifier([SIGNER.public_key]))

    def checkpointer(self) -> Checkpointer:
        """What the leading sweeper runs."""
        verifier = Verifier([SIGNER.public_key])
        return Checkpointer(
            self.trail(), self.checkpoints, self.auditor(), self.organizations, CLOCK, SIGNER, verifier, self.schedule
        )

    def organization(self) -> Organization:
        """A new organization."""
        return self.organizations.create("A", "a@example.com", "free")

    def problems(self, organization: Organization) -> list[str]:
        """What the examination finds, in words."""
        findings = self.auditor().examine(organization).findings
        return [f"{finding.seq}: {finding.problem}" for finding in findings]
