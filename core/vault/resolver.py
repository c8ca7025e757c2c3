"""Opens the secrets of one job at the last moment: for the job's own organization, recorded first, or not at all.

A secret that cannot be used fails the job; nothing else is ever used in its place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from core.audit.actions import AuditAction
from core.audit.entry import Actor, ActorType, AuditRecord, AuditStatus
from core.audit.trail import AuditTrail
from core.clock import DatabaseClock
from core.errors import IntegrityError, SecretUnusableError, UnavailableError
from core.storage.failures import away
from core.storage.scope import NamespaceScope
from core.vault.access import USED, Access
from core.vault.cipher import Cipher, SealedValue
from core.vault.resolved import NO_SECRETS, ResolvedSecret, ResolvedSecrets
from core.vault.secret import Secret
from core.vault.store import SecretStore
from core.vault.use import SecretUse

_TRIES = 3
"""Reads of a secret whose key was destroyed in between: the rotation that did so has sealed it again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class UsedBy:
    """Who uses secrets, and for what."""

    caller: str
    """the API key that submitted the job"""
    job_id: str
    request_id: str | None = None
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """secret → where its value goes, as far as the stages say"""


class SecretResolver:
    """Gives jobs the values they name. Safe to use from several threads."""

    def __init__(
        self, secrets: SecretStore, cipher: Cipher, trail: AuditTrail, use: SecretUse, clock: DatabaseClock
    ) -> None:
        self._secrets = secrets
        self._cipher = cipher
        self._trail = trail
        self._use = use
        self._clock = clock

    def resolve(self, scope: NamespaceScope, names: Iterable[str], used_by: UsedBy) -> ResolvedSecrets:
        """The values of these secrets for one job. One that cannot be used fails them all.

        Raises SecretUnusableError, and UnavailableError when a use cannot be recorded or a key not be reached: a
        BackendAwayError where MongoDB or the key service is away.
        """
        wanted = sorted(set(names))
        if not wanted:
            return NO_SECRETS
        found = self._secrets.sealed(scope.organization, wanted)
        opened = {name: self._open(scope, name, found.get(name), used_by) for name in wanted}
        for name in wanted:
            self._record(scope, name, used_by, AuditStatus.SUCCESS, None)
            self._count(scope, found[name][0], used_by, USED)
        return ResolvedSecrets(opened)

    def note_denied(self, scope: NamespaceScope, error: SecretUnusableError, used_by: UsedBy) -> None:
        """Record that a stage was not given a secret that had been resolved: for its host."""
        found = self._secrets.sealed(scope.organization, [error.name]).get(error.name)
        self._deny(scope, error, found[0] if found else None, used_by, AuditStatus.DENIED)

    def _open(
        self, scope: NamespaceScope, name: str, found: tuple[Secret, SealedValue] | None, used_by: UsedBy
    ) -> ResolvedSecret:
        if found is None:
            error = SecretUnusableError(name, "secret_missing", "does not exist")
            raise self._deny(scope, error, None, used_by, AuditStatus.DENIED)
        secret, sealed = found
        if why := secret.unusable_in(scope.namespace_id, self._clock.now()):
            raise self._deny(scope, SecretUnusableError(name, *why), secret, used_by, AuditStatus.DENIED)
        try:
            value = self._opened(scope, secret, sealed)
        except IntegrityError as fault:
            log.error("vault.secret_unreadable", secret_id=secret.secret_id, error=fault.message)
            error = SecretUnusableError(name, "secret_unreadable", "cannot be read")
            raise self._deny(scope, error, secret, used_by, AuditStatus.FAILURE) from None
        return ResolvedSecret(name, value, secret.limits.allowed_hosts)

    def _opened(self, scope: NamespaceScope, secret: Secret, sealed: SealedValue) -> str:
        """The value, read again while a rotation moves it to another key. Raises IntegrityError."""
        for _ in range(_TRIES):
            try:
                return self._cipher.open(secret.record, sealed)
            except IntegrityError:
                again = self._secrets.sealed(scope.organization, [secret.name]).get(secret.name)
                if again is None or again[1] == sealed:
                    raise
                secret, sealed = again
        return self._cipher.open(secret.record, sealed)

    def _deny(
        self,
        scope: NamespaceScope,
        error: SecretUnusableError,
        secret: Secret | None,
        used_by: UsedBy,
        status: AuditStatus,
    ) -> SecretUnusableError:
        """Record a denial; the error to raise."""
        self._record(scope, error.name, used_by, status, error.code)
        if secret is not None:
            self._count(scope, secret, used_by, error.code)
        return error

    def _record(
        self, scope: NamespaceScope, name: str, used_by: UsedBy, status: AuditStatus, reason: str | None
    ) -> None:
        record = AuditRecord(
            action=AuditAction.SECRET_ACCESSED,
            resource_type=AuditAction.SECRET_ACCESSED.resource_type,
            resource_id=name,
            status=status,
            actor=Actor(used_by.caller, ActorType.API_KEY),
            reason=f"{reason}:{used_by.job_id}" if reason else used_by.job_id,
            request_id=used_by.request_id,
            namespace_id=scope.namespace_id,
        )
        try:
            self._trail.append(scope.organization, record)
        except Exception as error:
            absent = away(error)
            if absent is None and not isinstance(error, UnavailableError):
                raise
            raise absent or UnavailableError("The audit log cannot be written, so no secret was given.") from error

    def _count(self, scope: NamespaceScope, secret: Secret, used_by: UsedBy, outcome: str) -> None:
        hosts = used_by.hosts.get(secret.name, ())
        self._use.note(scope.organization, Access(secret.secret_id, used_by.caller, hosts, outcome, self._clock.now()))
