"""The guards that everything rests on, and the test that must go red without each. Pure data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """A piece of code, what stands there when it is taken away, and who must notice."""

    name: str
    path: str
    code: str
    without: str
    noticed_by: str


_HANDLES = "core/storage/handles.py"
_JOBS, _LEDGER = "tests/contract/test_jobs.py", "tests/contract/test_ledger.py"
_SCHEMA = "core/storage/schema.py"
_VAULT = "tests/contract/test_vault.py"

GUARDS = (
    Guard(
        "fence: an old owner is refused",
        "core/jobs/lease.py",
        '{"_id": self.job.job_id, "fence": self.job.fence}',
        '{"_id": self.job.job_id}',
        _JOBS,
    ),
    Guard(
        "claim: only what is due",
        "core/jobs/queue.py",
        '"due_at": {"$lte": self._clock.now()}',
        '"due_at": {"$ne": None}',
        _JOBS,
    ),
    Guard(
        "outbox: the end and its events are one write",
        "core/jobs/lease.py",
        '"events": {"$literal": [event.to_document() for event in events]}',
        '"events": []',
        _JOBS,
    ),
    Guard(
        "outbox: the job stays due while it owes events",
        "core/jobs/lease.py",
        '[] if events else [{"$unset": "due_at"}]',
        '[{"$unset": "due_at"}]',
        _JOBS,
    ),
    Guard(
        "unique index: one entry for each sequence number",
        _SCHEMA,
        '_index("internal_id", "seq", unique=True)',
        '_index("internal_id", "seq")',
        _LEDGER,
    ),
    Guard(
        "unique index: one entry for each operation",
        _SCHEMA,
        '_index("internal_id", "op_id", unique=True)',
        '_index("internal_id", "op_id")',
        _LEDGER,
    ),
    Guard(
        "unique index: a hold ends once",
        _SCHEMA,
        '_index("internal_id", "hold_id", unique=True, partialFilterExpression={"terminal": True})',
        '_index("internal_id", "hold_id")',
        _LEDGER,
    ),
    Guard(
        "tenant predicate: filters of the namespace handle",
        _HANDLES,
        "return {**query, **self._scope}",
        "return {**query}",
        "tests/integration/test_api_resources.py",
    ),
    Guard(
        "tenant predicate: inserts are tagged",
        _HANDLES,
        "return {**document, **self._scope}",
        "return {**document}",
        _JOBS,
    ),
    Guard(
        "tenant predicate: the namespace id",
        _HANDLES,
        '{"internal_id": self.scope.internal_id, "namespace_id": self.scope.namespace_id}',
        '{"internal_id": self.scope.internal_id}',
        _JOBS,
    ),
    Guard(
        "claim: an attempt is counted when it begins",
        "core/jobs/queue.py",
        '{"$cond": [runnable, 1, 0]}',
        "0",
        _JOBS,
    ),
    Guard(
        "vault: the envelope is compared after decryption",
        "core/vault/cipher.py",
        'if envelope["for"] != record.parts():',
        "if False:",
        "tests/unit/vault/test_cipher.py",
    ),
    Guard(
        "vault: the derived key is bound to the record",
        "core/vault/cipher.py",
        "for item in [_PURPOSE, *record.parts()]",
        "for item in [_PURPOSE]",
        "tests/unit/vault/test_cipher.py",
    ),
    Guard(
        "vault: a wrapped data key is bound to its organization",
        "core/vault/kek.py",
        "(_PURPOSE, internal_id, str(version), *more)",
        "(_PURPOSE, *more)",
        "tests/contract/test_key_encryption.py",
    ),
    Guard(
        "vault: a use that cannot be recorded does not happen",
        "core/vault/resolver.py",
        'raise UnavailableError("The audit log cannot be written, so no secret was given.") from error',
        "return",
        _VAULT,
    ),
    Guard(
        "vault: a secret is used only where and while it may be",
        "core/vault/resolver.py",
        "if why := secret.unusable_in(scope.namespace_id, self._clock.now()):",
        "if why := None:",
        _VAULT,
    ),
    Guard(
        "vault: secrets are named in a closed list of places",
        "core/vault/references.py",
        "if name and _allowed(place):",
        "if name:",
        "tests/unit/vault/test_references.py",
    ),
    Guard(
        "vault: a reference elsewhere is refused",
        "api/routes/retrievers.py",
        "if misplaced := misplaced_secrets(call.body):",
        "if misplaced := []:",
        "tests/integration/test_secrets_api.py",
    ),
    Guard(
        "vault: nothing is sealed under a key that is retired",
        "core/vault/data_keys.py",
        'still = {"_id": key_id(scope, key.version), "state": KeyState.ACTIVE.value}',
        'still = {"_id": key_id(scope, key.version)}',
        _VAULT,
    ),
    Guard(
        "vault: what was resolved is taken out of results",
        "workers/secrets.py",
        "self.redactor.json(result.documents)",
        "result.documents",
        "tests/integration/test_job_secrets.py",
    ),
)
