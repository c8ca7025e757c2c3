"""The organization's secrets vault. Values come in and never go out again."""

from collections.abc import Sequence
from typing import Final

from api.call import Call, Reply, refuse
from api.compat import secret_created_status
from api.pagination import in_order
from api.route import SECRET, SECRETS, NamespaceMode, Route
from api.schemas.secrets import (
    AccessView,
    RollbackBody,
    SecretBody,
    SecretChanges,
    SecretCreatedView,
    SecretDeletedView,
    SecretListView,
    SecretsQuery,
    SecretUpdatedView,
    SecretValueBody,
    SecretView,
    show_access,
    show_names,
    show_secret,
)
from core.audit.actions import AuditAction
from core.errors import NotFoundError
from core.ids import Prefix
from core.tenancy.permissions import Permission
from core.vault.secret import Secret, SecretLimits
from core.vault.used_by import SecretUsers


def create_secret(call: Call) -> Reply:
    """Store a secret. Its value is encrypted and in no answer, not in this one either."""
    body = call.parse(SecretBody)
    limits = SecretLimits(
        expires_at=body.expires_at,
        disabled=body.disabled,
        allowed_hosts=tuple(body.allowed_hosts),
        allowed_namespaces=tuple(_namespace_ids(call, body.allowed_namespaces)),
    )
    secret = call.services.secrets.create(
        call.organization,
        call.new_id(Prefix.SECRET),
        body.secret_name,
        body.secret_value.get_secret_value(),
        limits,
        call.known_caller.key.key_id,
    )
    shown = SecretCreatedView(secret_name=secret.name, created=True)
    return Reply(shown, secret_created_status(call), resource_id=secret.name)


def list_secrets(call: Call) -> Reply:
    """The names of the secrets."""
    request = call.parse_query(SecretsQuery).request()
    names = call.services.secrets.names(call.organization, call.visible)
    return Reply(show_names(in_order(names, request)))


def get_secret(call: Call) -> Reply:
    """All about a secret but its value."""
    return Reply(_shown(call, _secret_of(call)))


def update_secret(call: Call) -> Reply:
    """Give a secret a new value: the next execution of whatever names it uses that one."""
    body = call.parse(SecretValueBody)
    value, key_id = body.secret_value.get_secret_value(), call.known_caller.key.key_id
    secret = call.services.secrets.update(call.organization, call.path["secret_name"], value, key_id)
    return Reply(SecretUpdatedView(secret_name=secret.name, updated=True, version=secret.version))


def change_secret(call: Call) -> Reply:
    """Change when, where and by whom a secret may be used."""
    body = call.parse(SecretChanges)
    before = _secret_of(call)
    named = body.allowed_namespaces
    ids = None if named is None else _namespace_ids(call, named)
    after = call.services.secrets.limit(call.organization, before.name, lambda limits: body.applied_to(limits, ids))
    old, new = _shown(call, before), _shown(call, after)
    return Reply(new, changes=call.changed(old, new))


def roll_back_secret(call: Call) -> Reply:
    """Give a secret an earlier value again, as a new version."""
    body = call.parse(RollbackBody)
    name, key_id = call.path["secret_name"], call.known_caller.key.key_id
    secret = call.services.secrets.roll_back(call.organization, name, body.version, key_id)
    return Reply(SecretUpdatedView(secret_name=secret.name, updated=True, version=secret.version))


def delete_secret(call: Call) -> Reply:
    """Remove a secret with all its versions. The answer warns of what still names it."""
    name = call.path["secret_name"]
    call.services.secrets.delete(call.organization, name)
    users = call.services.secret_usage.of(call.organization, name)
    if users.any:
        call.warnings.append(_still_used(users))
    return Reply(SecretDeletedView(secret_name=name, deleted=True))


def get_access(call: Call) -> Reply:
    """Who used a secret, where to, how often, and what of it is unusual."""
    secret, services = _secret_of(call), call.services
    pattern = services.secret_access.pattern(call.organization, secret.secret_id, services.clock.now())
    return Reply(show_access(secret.name, pattern))


def _secret_of(call: Call) -> Secret:
    return call.services.secrets.get(call.organization, call.path["secret_name"])


def _shown(call: Call, secret: Secret) -> SecretView:
    # a key that is bound to an environment does not learn what there is in the others
    bound = call.known_caller.key.grant.environment
    users = call.services.secret_usage.of(call.organization, secret.name, bound)
    return show_secret(secret, call.services.secrets.versions(secret), users)


def _namespace_ids(call: Call, named: Sequence[str]) -> list[str]:
    """The ids of the organization's namespaces that are named. Raises ValidationFailedError."""
    try:
        found = [call.services.namespaces.get(call.organization, name) for name in named]
    except NotFoundError:
        raise refuse("allowed_namespaces", "one of them is no namespace of this organization") from None
    return list(dict.fromkeys(namespace.namespace_id for namespace in found))


def _still_used(users: SecretUsers) -> str:
    count = sum(map(len, users.retrievers.values()))
    parts = [f"{count} retriever{'s' if count != 1 else ''}"] if count else []
    parts += [f"the default credentials for {provider}" for provider in users.default_credentials]
    return f"The secret is still named by {' and '.join(parts)}: executions that need it fail from now on."


_SECRETS = "/v1/organizations/secrets"
_SECRET = f"{_SECRETS}/<secret_name>"
_ANY: Final = NamespaceMode.OPTIONAL
_ADMIN, _READ = Permission.ADMIN, Permission.READ
_CREATED, _UPDATED, _DELETED = AuditAction.SECRET_CREATED, AuditAction.SECRET_UPDATED, AuditAction.SECRET_DELETED
_MAX_BODY_BYTES = 256 * 1024
"""A value of 64 KiB, escaped as JSON."""

ROUTES = (
    Route(
        "POST",
        _SECRETS,
        "secrets.create",
        create_secret,
        _ADMIN,
        SECRETS,
        namespace=_ANY,
        audit=_CREATED,
        idempotent=True,
        max_body_bytes=_MAX_BODY_BYTES,
        body=SecretBody,
        answers={200: SecretCreatedView, 201: SecretCreatedView},
    ),
    Route(
        "GET",
        _SECRETS,
        "secrets.list",
        list_secrets,
        _READ,
        SECRETS,
        query=SecretsQuery,
        namespace=_ANY,
        answers={200: SecretListView},
    ),
    Route("GET", _SECRET, "secrets.get", get_secret, _READ, SECRET, namespace=_ANY, answers={200: SecretView}),
    Route(
        "PUT",
        _SECRET,
        "secrets.update",
        update_secret,
        _ADMIN,
        SECRET,
        namespace=_ANY,
        audit=_UPDATED,
        max_body_bytes=_MAX_BODY_BYTES,
        body=SecretValueBody,
        answers={200: SecretUpdatedView},
    ),
    Route(
        "PATCH",
        _SECRET,
        "secrets.change",
        change_secret,
        _ADMIN,
        SECRET,
        namespace=_ANY,
        audit=_UPDATED,
        body=SecretChanges,
        answers={200: SecretView},
    ),
    Route(
        "POST",
        f"{_SECRET}/rollback",
        "secrets.roll_back",
        roll_back_secret,
        _ADMIN,
        SECRET,
        namespace=_ANY,
        audit=_UPDATED,
        idempotent=True,
        body=RollbackBody,
        answers={200: SecretUpdatedView},
    ),
    Route(
        "DELETE",
        _SECRET,
        "secrets.delete",
        delete_secret,
        _ADMIN,
        SECRET,
        namespace=_ANY,
        audit=_DELETED,
        answers={200: SecretDeletedView},
    ),
    Route(
        "GET",
        f"{_SECRET}/access",
        "secrets.access",
        get_access,
        _ADMIN,
        SECRET,
        namespace=_ANY,
        answers={200: AccessView},
    ),
)
