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
_AUDIT = "tests/unit/audit"
_SCHEMA = "core/storage/schema.py"

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
        "audit: the seal covers the entry before",
        "core/audit/entry.py",
        'if name != "mac"}',
        'if name not in {"mac", "prev_mac"}}',
        _AUDIT,
    ),
    Guard(
        "audit: the seal covers the number",
        "core/audit/entry.py",
        'if name != "mac"}',
        'if name not in {"mac", "seq"}}',
        _AUDIT,
    ),
    Guard(
        "audit: an entry follows the one before it",
        "core/audit/verification.py",
        'follows and document.get("prev_mac") != self._previous.mac',
        "False",
        _AUDIT,
    ),
    Guard(
        "audit: the head tells where the chain ends",
        "core/audit/verification.py",
        "if end > self._previous.seq:",
        "if False:",
        _AUDIT,
    ),
    Guard(
        "audit: a head is believed under its seal only",
        "core/audit/head.py",
        'key is None or not is_sealed(key, Purpose.HEAD, unsealed, head.get("head_mac"))',
        "key is None",
        _AUDIT,
    ),
    Guard(
        "audit: a forged log is not signed",
        "core/audit/checkpointer.py",
        "if findings or tip ==",
        "if tip ==",
        "tests/contract/test_audit.py",
    ),
    Guard(
        "claim: an attempt is counted when it begins",
        "core/jobs/queue.py",
        '{"$cond": [runnable, 1, 0]}',
        "0",
        _JOBS,
    ),
)
