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
        "templates: only what the closed list allows",
        "core/templating/sandbox.py",
        "    _check(tree)\n",
        "",
        "tests/unit/templating/test_attacks.py",
    ),
    Guard(
        "templates: steps are counted",
        "core/templating/budget.py",
        "if self._steps > self._limits.steps:",
        "if False:",
        "tests/unit/templating/test_attacks.py",
    ),
    Guard(
        "templates: the output is counted",
        "core/templating/template.py",
        "budget.check_output(length)",
        "pass",
        "tests/unit/templating/test_attacks.py",
    ),
    Guard(
        "egress: the addresses of a name are checked",
        "core/egress/transport.py",
        "if self._policy:",
        "if False:",
        "tests/integration/test_outbound.py",
    ),
    Guard(
        "models: a secret that was named never gives way to the platform's key",
        "pipelines/llm/access.py",
        "return _Key(self._secrets.meant_by(choice.api_key).for_host(host), is_own=True)",
        "pass",
        "tests/integration/test_llm_stages.py",
    ),
)
