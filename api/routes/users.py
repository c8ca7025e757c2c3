"""Users of the organization."""

from api.call import Call, Reply
from api.pagination import list_request, newest_first
from api.route import USER, USERS, NamespaceMode, Route
from api.schemas.paging import PagingQuery
from api.schemas.users import RemovedView, UserBody, UserChanges, UserList, UserView, show_user
from core.audit.actions import AuditAction
from core.tenancy.permissions import Permission
from core.tenancy.user import User


def create_user(call: Call) -> Reply:
    """A new user. Keys are made for them separately."""
    body = call.parse(UserBody)
    user = call.services.users.create(
        call.organization,
        body.email,
        body.user_name,
        body.role,
        call.new_id,
        status=body.status.value,
        avatar_url=body.avatar_url,
        metadata=body.metadata,
    )
    return Reply(show_user(user), resource_id=user.user_id)


def list_users(call: Call) -> Reply:
    """Users, newest first: few enough to be read whole."""
    users = call.services.users.list(call.organization, call.visible)
    page = newest_first(users, list_request(call), lambda user: (user.created_at, user.user_id))
    return Reply(UserList.of(page, show_user))


def get_user(call: Call) -> Reply:
    """One user, by email."""
    return Reply(show_user(user_of(call)))


def update_user(call: Call) -> Reply:
    """Change a user. Their keys follow: a lower role caps them, and those of a suspended user do not work.

    Raises ConflictError when no full admin key would be left.
    """
    user, changes = user_of(call), call.parse(UserChanges)
    if changes.role or changes.status:
        role, status = changes.role or user.role, changes.status or user.status
        call.services.keys.set_standing(call.organization, user, role, status)
    updated = call.services.users.update(call.organization, user, changes.changes())
    return Reply(show_user(updated), changes=call.changed(show_user(user), show_user(updated)))


def delete_user(call: Call) -> Reply:
    """Remove a user and end their keys. Raises ConflictError when no full admin key would be left."""
    call.services.keys.remove_user(call.organization, user_of(call))
    return Reply(RemovedView(success=True, message="The user is removed, and their API keys are revoked."))


def user_of(call: Call) -> User:
    """The user that the path names. Raises NotFoundError."""
    return call.services.users.get(call.organization, call.path["user_email"])


_USERS = "/v1/organizations/users"
_USER = f"{_USERS}/<user_email>"
_ANY = NamespaceMode.OPTIONAL
_ADMIN = Permission.ADMIN

ROUTES = (
    Route(
        "POST",
        _USERS,
        "users.create",
        create_user,
        _ADMIN,
        USERS,
        body=UserBody,
        answers={200: UserView},
        namespace=_ANY,
        audit=AuditAction.USER_CREATED,
        idempotent=True,
    ),
    Route(
        "GET",
        _USERS,
        "users.list",
        list_users,
        Permission.READ,
        USERS,
        query=PagingQuery,
        answers={200: UserList},
        namespace=_ANY,
    ),
    Route("GET", _USER, "users.get", get_user, Permission.READ, USER, answers={200: UserView}, namespace=_ANY),
    Route(
        "PATCH",
        _USER,
        "users.update",
        update_user,
        _ADMIN,
        USER,
        body=UserChanges,
        answers={200: UserView},
        namespace=_ANY,
        audit=AuditAction.USER_UPDATED,
    ),
    Route(
        "DELETE",
        _USER,
        "users.delete",
        delete_user,
        _ADMIN,
        USER,
        answers={200: RemovedView},
        namespace=_ANY,
        audit=AuditAction.USER_DELETED,
    ),
)
