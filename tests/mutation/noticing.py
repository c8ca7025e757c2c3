"""Who must notice when a tenant predicate is gone, the fastest first; and what nobody can notice, with why."""

from collections.abc import Collection

_HANDLES = "tests/contract/test_handles.py"
_LOCKS = "tests/integration/test_tenant_locks.py"
_NAMESPACES = "tests/integration/test_namespaces.py"
_RESOURCES = "tests/integration/test_api_resources.py"


def _locks(*names: str) -> tuple[str, ...]:
    return tuple(f"{_LOCKS}::test_{name}" for name in names)


_SCOPED = "tests/integration/test_scopes.py"
_SECRETS = "tests/integration/test_secrets_api.py"
_USAGE = "tests/integration/test_usage.py"
_REMEMBERED = "two_organizations_with_namespaces_and_retrievers_of_one_name_get_their_own"
_NARROWED = "tasks_are_narrowed_by_the_namespace"
_SCOPES = (
    "a_scope_covers_a_resource_by_id_and_by_name_and_no_other",
    "a_scope_on_a_namespace_covers_what_is_in_it",
    "a_key_of_an_environment_reaches_no_other",
    "every_list_shows_to_a_scoped_key_what_its_scopes_cover",
)

NOTICED_BY: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("api/authorization.py", (*_locks(*_SCOPES), _SCOPED, _LOCKS, _NAMESPACES)),
    ("api/admission.py", (f"{_NAMESPACES}::test_header_path_query_and_body_may_not_disagree", _LOCKS)),
    ("api/dispatch.py", (f"{_NAMESPACES}::test_header_path_query_and_body_may_not_disagree", _LOCKS)),
    ("api/schemas/", (_RESOURCES, _LOCKS)),
    ("api/routes/secrets.py", (_SECRETS,)),
    ("api/routes/retrievers.py", (_SCOPED, _LOCKS, _SECRETS)),
    ("api/", (_LOCKS, _SCOPED, _NAMESPACES)),
    (
        "core/audit/",
        _locks(
            "each_organization_has_its_own_chain_head_and_settings",
            "an_entry_of_another_organizations_chain_is_not_genuine_in_this_one",
            "entries_are_narrowed_by_namespace",
            "a_flood_of_denials_of_one_organization_hides_none_of_another",
        ),
    ),
    ("core/buckets/", _locks("the_bytes_of_an_object_lie_under_its_namespace")),
    (
        "core/collections/",
        ("tests/integration/test_scopes.py::test_a_list_of_documents_shows_the_documents_of_the_scope",),
    ),
    ("core/credits/usage.py", (_USAGE,)),
    ("core/credits/", _locks("each_ledger_notes_its_own_head")),
    ("core/idempotency/", ("tests/unit/idempotency", *_locks("one_idempotency_key_of_two_tenants_is_two_requests"))),
    ("core/jobs/doorbell", ("tests/contract/test_doorbell.py",)),
    ("core/jobs/waiting.py", _locks("the_signal_of_a_jobs_end_is_its_namespaces_own")),
    ("core/jobs/job.py", ("tests/contract/test_jobs.py", _USAGE)),
    ("core/jobs/", ("tests/contract/test_jobs.py", *_locks(_NARROWED), _SCOPED)),
    (
        "core/limits/",
        _locks(
            "the_requests_of_one_organization_count_for_itself_only",
            "the_requests_of_all_keys_count_for_their_organization",
            "the_places_of_one_organization_are_its_own",
        ),
    ),
    ("core/retrievers/", _locks(_REMEMBERED)),
    ("core/storage/command_log.py", ("tests/unit/storage/test_command_log.py",)),
    ("core/storage/handles.py", (_HANDLES,)),
    ("core/storage/redis.py", ("tests/unit/storage/test_redis_keys.py",)),
    ("core/storage/schema.py", ("tests/contract/test_schema.py",)),
    ("core/storage/scope.py", (_HANDLES,)),
    ("core/storage/vectors/", ("tests/unit/storage/test_vectors.py", "tests/contract/test_vectors.py")),
    ("core/tenancy/permissions.py", ("tests/unit/tenancy/test_permissions.py",)),
    ("core/tenancy/api_key.py", ("tests/unit/tenancy/test_permissions.py", _SCOPED)),
    (
        "core/tenancy/tenant_cache.py",
        _locks(
            "what_is_remembered_of_one_organization_is_not_given_to_another",
            "a_change_of_one_organization_is_told_to_itself_only",
        ),
    ),
    ("core/tenancy/namespace_", (_NAMESPACES, _LOCKS)),
    (
        "core/tenancy/key_store.py",
        _locks("lists_of_users_and_keys_show_what_is_selected", "changes_of_keys_meet_in_their_own_organization"),
    ),
    ("core/tenancy/organization_store.py", _locks("a_change_of_one_organization_changes_no_other")),
    ("core/tenancy/removal.py", (_SECRETS,)),
    ("core/tenancy/", (_LOCKS, _NAMESPACES)),
    ("core/vault/kek", ("tests/contract/test_key_encryption.py",)),
    (
        "core/vault/",
        (
            "tests/unit/vault",
            "tests/contract/test_vault_swap.py",
            "tests/contract/test_vault.py",
            "tests/integration/test_vault_rotation.py::test_versions_and_signing_secrets_move_along_with_the_data_key",
        ),
    ),
    (
        "core/webhooks/",
        (
            "tests/unit/webhooks",
            "tests/contract/test_delivery_queue.py",
            "tests/contract/test_webhook_store.py",
            *_locks("deliveries_are_narrowed_by_the_namespace"),
        ),
    ),
    ("pipelines/template_values.py", ("tests/integration/test_apply_stages.py",)),
    ("pipelines/stage.py", ("tests/integration/test_pipelines.py",)),
    ("pipelines/", ("tests/unit/pipelines/test_call_names.py", "tests/integration/test_pipelines.py")),
    ("workers/dispatcher.py", ("tests/unit/workers",)),
    ("workers/", (_NAMESPACES,)),
)
"""The first beginning of a path that fits says which tests."""

UNNOTICEABLE: dict[str, str] = {
    "api/compat.py: tuple: 'internal_id' in*": "the literal `redacted` for a client that wants the field",
    "api/dispatch.py: tuple: 'namespace_id' in ('request_id'*": "what is taken off the log lines again",
    "api/openapi/parameters.py: key: namespace_id in {'namespace_id'*": "what a parameter is called in the document",
    "api/schemas/*": "what an answer shows; the read behind it is narrowed before",
    "core/audit/trail.py: _id: {'_id': scope.internal_id}": (
        "the first of two reads: internal_id is on it as on the second, which finds the head where this one does not"
    ),
    "core/audit/checkpoint.py: chosen: name not in {'_id', 'internal_id'}": (
        "what is left aside when a stored checkpoint is read back: the handle has narrowed that read"
    ),
    "core/jobs/doorbell*": "what a message says for the logs: a worker reads whose the job is from the job",
    "core/templating/sandbox.py: condition: not all((isinstance(bound*": "what bounds a range, and no tenant",
    "pipelines/actors.py: key: namespace_id in {'request_id'*": "for the log lines of a call",
    "workers/drive_job.py: key: namespace_id in {'job_id'*": "for the log lines of a job",
    "api/routes/api_keys.py: visible: call.services.keys.list(*": (
        "only admins list keys, and lists of what an admin manages are not narrowed: it is None always"
    ),
}
"""Names of mutants, or beginnings of names with a `*`, → why nothing changes without them."""


def noticed_by(path: str) -> tuple[str, ...]:
    """The tests for a file. Raises KeyError for a place that nobody looks after."""
    for beginning, tests in NOTICED_BY:
        if path.startswith(beginning):
            return tests
    raise KeyError(f"say in NOTICED_BY which tests notice that {path} lost a tenant predicate")


def why_unnoticeable(name: str) -> str | None:
    """The reason why a mutant is left out; None when it is not."""
    return next((why for pattern, why in UNNOTICEABLE.items() if _is_meant(pattern, name)), None)


def stale_entries(names: Collection[str]) -> list[str]:
    """Entries of UNNOTICEABLE that mean none of the mutants with these names."""
    return [pattern for pattern in UNNOTICEABLE if not any(_is_meant(pattern, name) for name in names)]


def _is_meant(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
