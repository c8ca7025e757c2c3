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
        "keys: two changes of one organization never overlap",
        "core/tenancy/key_store.py",
        'data["organizations"].update_one({"_id": data.scope.internal_id}, {"$inc": {"key_changes": 1}})',
        "pass",
        "tests/integration/test_last_admin.py",
    ),
    Guard(
        "scopes: a namespace covers nothing of the organization",
        "api/authorization.py",
        "held = resource is not None and resource.type in IN_NAMESPACE",
        "held = True",
        "tests/integration/test_matrix.py",
    ),
    Guard(
        "scopes: a list shows what they cover",
        "api/routes/tasks.py",
        "only=call.visible",
        "only=None",
        "tests/integration/test_scopes.py",
    ),
    Guard(
        "suspension: a new key of a suspended user does not work",
        "core/tenancy/key_store.py",
        'return UserStatus(user["status"]) is not UserStatus.ACTIVE',
        "return False",
        "tests/integration/test_users.py",
    ),
    Guard(
        "cache: what a tenant is is asked for again after a change",
        "core/tenancy/tenant_cache.py",
        "if told == epoch and stale_at > time.monotonic():",
        "if told and stale_at > time.monotonic():",
        "tests/integration/test_revocation.py",
    ),
)
