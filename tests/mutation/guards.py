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
        "logs: redaction is the last step",
        "config/logging_setup.py",
        "remove_processors_meta, redact, within_line",
        "remove_processors_meta, within_line",
        "tests/unit/config/test_redaction.py",
    ),
    Guard(
        "settings: a refusal shows no value",
        "config/settings.py",
        "hide_input_in_errors=True",
        "hide_input_in_errors=False",
        "tests/unit/config/test_tls.py",
    ),
    Guard(
        "TLS: a broker proves itself",
        "core/storage/redis.py",
        '"ssl_cert_reqs": CERT_REQUIRED',
        '"ssl_cert_reqs": "none"',
        "tests/integration/test_tls.py",
    ),
    Guard(
        "Ray: no node is told the way to the secret manager",
        "cli/stack/ray.py",
        "(*ROOT_KEY_VARIABLES, _WAYS_TO_SECRETS)",
        "tuple(ROOT_KEY_VARIABLES)",
        "tests/unit/cli/stack/test_ray.py",
    ),
)
