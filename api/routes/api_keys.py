"""API keys of the organization's users. None gives more than its maker has, and the last full admin key stays."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

from api.call import Call, Reply
from api.compat import key_answer
from api.pagination import newest_first
from api.route import API_KEY, API_KEYS, NamespaceMode, Route
from api.routes.users import user_of
from api.schemas.api_keys import (
    IssuedKeyView,
    KeyBody,
    KeyChanges,
    KeyListView,
    KeyQuery,
    KeyView,
    RevokedView,
    RotateBody,
    asked_grant,
    changed_grant,
    show_issued_key,
    show_key,
    show_keys,
)
from core.audit.actions import AuditAction
from core.errors import ConflictError, NotFoundError
from core.ids import Prefix
from core.tenancy.api_key import ApiKey, KeyGrant, require_environment, text_kind
from core.tenancy.keys import PresentedKey, mint_key, new_key_id
from core.tenancy.minting import require_within, require_within_plan, require_within_role
from core.tenancy.permissions import Permission


def create_key(call: Call) -> Reply:
    """A new key for a user. Its text is in this answer and never shown again."""
    user, body = user_of(call), call.parse(KeyBody)
    caller = call.known_caller
    grant = asked_grant(body, caller.key.grant)
    require_within(caller.key, grant)
    require_within_role(user, grant)
    require_within_plan(grant, call.services.plan_of(caller.organization).requests_per_minute)
    text = _new_text(call, grant)
    if standing := call.services.keys.find(call.organization, text.key_id):
        # a request that crashed after it had made the key: its text went to nobody
        return _issued(call, standing, None)
    key = call.services.keys.create(
        call.organization, user, body.name, grant, text, description=body.description, maker=caller.key
    )
    return _issued(call, key, text)


def list_keys(call: Call) -> Reply:
    """A user's keys, newest first; revoked ones with `?include_revoked=true`."""
    asked = call.parse_query(KeyQuery)
    keys = call.services.keys.list(
        call.organization, user_of(call), include_revoked=asked.include_revoked, only=call.visible
    )
    page = newest_first(keys, asked.request(), lambda key: (key.created_at, key.key_id))
    return Reply(show_keys(page, partial(_shown, call)))


def update_key(call: Call) -> Reply:
    """Change a key. `status: revoked` ends it."""
    body = call.parse(KeyChanges)
    key = key_of(call)
    require_within(call.known_caller.key, key.grant)
    if body.status not in (None, "active"):
        call.services.keys.revoke(call.organization, user_of(call), key.name)
        return _answer(call, key, call.services.keys.find(call.organization, key.key_id) or key)
    grant = changed_grant(body, key.grant)
    require_within(call.known_caller.key, grant)
    require_within_role(user_of(call), grant)
    require_within_plan(grant, call.services.plan_of(call.known_caller.organization).requests_per_minute)
    _require_still_reached(call, key, grant)
    updated = call.services.keys.update(
        call.organization,
        key,
        grant,
        name=body.name or key.name,
        description=body.description if "description" in body.model_fields_set else key.description,
    )
    return _answer(call, key, updated)


def rotate_key(call: Call) -> Reply:
    """Give a key a new text. The old one works on for `grace_seconds`, at most 7 days."""
    body = call.parse(RotateBody)
    text = _new_text(call, KeyGrant())
    if standing := call.services.keys.find(call.organization, text.key_id):
        return _issued(call, standing, None)
    old = key_of(call)
    # whoever gets the new text holds what the key holds
    require_within(call.known_caller.key, old.grant)
    text = _new_text(call, old.grant, text.key_id)
    until = call.services.clock.now() + timedelta(seconds=body.grace_seconds)
    key = call.services.keys.rotate(call.organization, old, text, until, call.known_caller.key)
    return _issued(call, key, text)


def revoke_key(call: Call) -> Reply:
    """End a key, with those that it replaced. It holds from the first request after this answer, in every process."""
    key = key_of(call)
    require_environment(call.known_caller.key, key.grant.environment)
    if not call.services.keys.revoke(call.organization, user_of(call), key.name):
        raise NotFoundError("The API key was not found.")
    return Reply(RevokedView(success=True, message="The API key is revoked."))


def key_of(call: Call) -> ApiKey:
    """The active key that the path names. Raises NotFoundError."""
    return call.services.keys.get(call.organization, user_of(call), call.path["key_name"])


def _require_still_reached(call: Call, key: ApiKey, grant: KeyGrant) -> None:
    """Raises ConflictError when the caller would shut itself out: there may be nobody left to let it in again."""
    asking = call.known_caller.key
    is_own = (key.user_id, key.name) == (asking.user_id, asking.name)
    if is_own and not replace(key, grant=grant).takes_calls_from(call.address):
        raise ConflictError(f"The key that asks would shut itself out: allowed_cidrs must cover {call.address}.")


def _new_text(call: Call, grant: KeyGrant, key_id: str | None = None) -> PresentedKey:
    return mint_key(text_kind(grant.environment), key_id or new_key_id(call.new_id(Prefix.KEY)))


def _issued(call: Call, key: ApiKey, text: PresentedKey | None) -> Reply:
    status, public_id = call.services.keys.status_of(key), call.known_caller.organization.organization_id
    shown = show_issued_key(key, public_id, status, text.text if text else None)
    again = show_issued_key(key, public_id, status, None)
    return Reply(key_answer(call, shown), replay=key_answer(call, again), resource_id=key.key_id)


def _answer(call: Call, before: ApiKey, after: ApiKey) -> Reply:
    old, new = _shown(call, before), _shown(call, after)
    return Reply(key_answer(call, new), resource_id=after.key_id, changes=call.changed(old, new))


def _shown(call: Call, key: ApiKey) -> KeyView:
    return show_key(key, call.known_caller.organization.organization_id, call.services.keys.status_of(key))


_KEYS = "/v1/organizations/users/<user_email>/api-keys"
_KEY = f"{_KEYS}/<key_name>"
_ANY = NamespaceMode.OPTIONAL
_ADMIN = Permission.ADMIN

ROUTES = (
    Route(
        "POST",
        _KEYS,
        "api_keys.create",
        create_key,
        _ADMIN,
        API_KEYS,
        body=KeyBody,
        answers={200: IssuedKeyView},
        namespace=_ANY,
        audit=AuditAction.API_KEY_CREATED,
        idempotent=True,
    ),
    Route(
        "GET",
        _KEYS,
        "api_keys.list",
        list_keys,
        _ADMIN,
        API_KEYS,
        query=KeyQuery,
        answers={200: KeyListView},
        namespace=_ANY,
    ),
    Route(
        "PATCH",
        _KEY,
        "api_keys.update",
        update_key,
        _ADMIN,
        API_KEY,
        body=KeyChanges,
        answers={200: KeyView},
        namespace=_ANY,
        audit=AuditAction.API_KEY_UPDATED,
    ),
    Route(
        "POST",
        f"{_KEY}/rotate",
        "api_keys.rotate",
        rotate_key,
        _ADMIN,
        API_KEY,
        body=RotateBody,
        answers={200: IssuedKeyView},
        namespace=_ANY,
        audit=AuditAction.API_KEY_ROTATED,
        idempotent=True,
    ),
    Route(
        "DELETE",
        _KEY,
        "api_keys.revoke",
        revoke_key,
        _ADMIN,
        API_KEY,
        answers={200: RevokedView},
        namespace=_ANY,
        audit=AuditAction.API_KEY_REVOKED,
    ),
)
