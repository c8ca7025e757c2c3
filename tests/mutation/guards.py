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
_ADMIT, _RATES, _FAILURES = "core/limits/admit.lua", "core/limits/rates.lua", "core/limits/failures.lua"
_LIMITS, _LOCAL_LIMITS = "tests/contract/test_limits.py", "tests/unit/limits/test_local.py"
_LIMITS_OUTAGE, _AUTH_FAILURES = "tests/contract/test_limits_outage.py", "tests/contract/test_auth_failures.py"

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
    Guard(
        "limits: over the rate is refused",
        _ADMIT,
        "if late > 0 then",
        "if false then",
        _LIMITS,
    ),
    Guard(
        "limits: a refusal counts for nothing",
        _ADMIT,
        "if wait == 0 then\n  for",
        "if true then\n  for",
        _LIMITS,
    ),
    Guard(
        "limits: the longest wait is the one that is told",
        _ADMIT,
        "if late > wait then\n      binding, remaining, reset, wait = i",
        "if wait == 0 then\n      binding, remaining, reset, wait = i",
        _LIMITS,
    ),
    Guard(
        "limits: the cap on work under way",
        _ADMIT,
        "if held >= cap and",
        "if false and",
        _LIMITS,
    ),
    Guard(
        "limits: a crashed holder's place is freed",
        _ADMIT,
        "'ZADD', leases, now + lasts, id",
        "'ZADD', leases, now + longest, id",
        _LIMITS,
    ),
    Guard(
        "limits: ended leases are not kept",
        _ADMIT,
        "redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)",
        "",
        _LIMITS,
    ),
    Guard(
        "limits: leases from before a clock was set back are dropped",
        _ADMIT,
        "redis.call('ZREMRANGEBYSCORE', leases, now + longest, '+inf')",
        "",
        _LIMITS,
    ),
    Guard(
        "limits: idle leases vanish",
        _ADMIT,
        "redis.call('PEXPIRE', leases, math.ceil((last[2] - now) / 1000))",
        "",
        _LIMITS,
    ),
    Guard(
        "limits: idle rates vanish",
        _RATES,
        ", 'PX', math.ceil((paid - now) / 1000))",
        ")",
        _LIMITS,
    ),
    Guard(
        "limits: a clock that was set back delays by a burst at most",
        _RATES,
        "if paid > latest then",
        "if false then",
        _LIMITS,
    ),
    Guard(
        "limits: … and not again and again",
        _RATES,
        "paid = latest\n    keep(key, paid)",
        "paid = latest",
        _LIMITS,
    ),
    Guard(
        "limits: a key's own rate is no way around the plan",
        "core/limits/subject.py",
        "min(own, plan.requests_per_minute)",
        "own",
        "tests/unit/limits/test_policies.py",
    ),
    Guard(
        "limits: without Redis no work is started uncounted",
        "core/limits/limiter.py",
        "if rate_class not in _COUNTED_LOCALLY:",
        "if False:",
        _LIMITS_OUTAGE,
    ),
    Guard(
        "limits: Redis away is no exception",
        "core/limits/redis_rates.py",
        "except RedisError as error:",
        "except ZeroDivisionError as error:",
        _LIMITS_OUTAGE,
    ),
    Guard(
        "limits: Redis away is waited for once a second",
        "core/limits/redis_rates.py",
        "if self._clock() < self._try_again_at:",
        "if False:",
        "tests/unit/limits/test_redis_watch.py",
    ),
    Guard(
        "limits: … by one caller",
        "core/limits/redis_rates.py",
        "            self._try_again_at = self._clock() + _AWAY_SECONDS\n            return True",
        "            return True",
        "tests/unit/limits/test_redis_watch.py",
    ),
    Guard(
        "limits: one process allows its share",
        "core/limits/local.py",
        "interval = policy.interval_us * share",
        "interval = policy.interval_us",
        _LOCAL_LIMITS,
    ),
    Guard(
        "limits: a process's refusal counts for nothing",
        "core/limits/local.py",
        "if decision.wait_us == 0:",
        "if True:",
        _LOCAL_LIMITS,
    ),
    Guard(
        "limits: a process remembers a bounded number of rates",
        "core/limits/local.py",
        "if len(self._entries) > self._size:",
        "if False:",
        _LOCAL_LIMITS,
    ),
    Guard(
        "auth failures: nobody is locked out for longer than a burst",
        _RATES,
        "if paid > latest then",
        "if false then",
        _AUTH_FAILURES,
    ),
    Guard(
        "auth failures: looking counts nothing",
        _FAILURES,
        "if ARGV[1] == '1' then",
        "if true then",
        _AUTH_FAILURES,
    ),
    Guard(
        "auth failures: a whole IPv6 network is one source",
        "core/limits/auth_failures.py",
        "if address.ipv4_mapped is None:",
        "if False:",
        _AUTH_FAILURES,
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
