"""Users of an organization on the wire."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from api.schemas.fields import Answer, Body, Email, FreeForm, ShortText
from api.schemas.paging import TotalListView
from core.tenancy.user import Role, User, UserStatus

_RoleField = Annotated[Role, Field(strict=False)]
_StatusField = Annotated[UserStatus, Field(strict=False)]
_Url = Annotated[str, StringConstraints(max_length=2048)]


class UserBody(Body):
    """POST /v1/organizations/users"""

    email: Email
    user_name: ShortText
    avatar_url: _Url | None = None
    role: _RoleField = Role.MEMBER
    status: _StatusField = UserStatus.ACTIVE
    metadata: FreeForm = Field(default_factory=dict)


class UserChanges(Body):
    """PATCH of a user: what is left out stays."""

    user_name: ShortText | None = None
    avatar_url: _Url | None = None
    role: _RoleField | None = None
    status: _StatusField | None = None
    metadata: FreeForm | None = None

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, as the store names them; role and status apart, which change the user's keys."""
        sent = self.model_dump(mode="json", exclude_unset=True, exclude={"role", "status"})
        cleared = {name for name, value in sent.items() if value is None and name != "avatar_url"}
        return {"name" if name == "user_name" else name: value for name, value in sent.items() if name not in cleared}


class UserView(Answer):
    """A user of the organization."""

    user_id: str
    """Opaque id of the user."""
    email: str
    """Names the user in paths; lower case."""
    user_name: str
    """What to call them."""
    avatar_url: str | None
    """A picture."""
    role: Role
    """Caps the permission of their keys."""
    status: UserStatus
    """Keys of a user who is not active do not work."""
    metadata: dict[str, Any]
    """The customer's own data."""
    created_at: datetime
    """When the user was added."""
    updated_at: datetime
    """When the user was changed last."""


class UserList(TotalListView[UserView]):
    """A page of users."""


class RemovedView(Answer):
    """The published answer to a removal."""

    success: bool
    """Always true."""
    message: str
    """For people."""


def show_user(user: User) -> UserView:
    """A user as the organization sees it."""
    return UserView(
        user_id=user.user_id,
        email=user.email,
        user_name=user.name,
        avatar_url=user.avatar_url,
        role=user.role,
        status=user.status,
        metadata=dict(user.metadata),
        created_at=user.created_at,
        updated_at=user.updated_at,
    )
