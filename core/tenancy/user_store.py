"""Users of an organization in MongoDB. It knows nothing of keys: changes that touch those are in the key store."""

from collections.abc import Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.clock import now
from core.errors import AlreadyExistsError, NotFoundError
from core.ids import IdSource, Prefix, random_id
from core.storage.handles import Handles, ScopedCollection
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope
from core.storage.selection import Selection, narrowed
from core.tenancy.user import Role, User, UserStatus


class UserStore:
    """The users of all organizations, by email inside each."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def create(
        self,
        scope: OrganizationScope,
        email: str,
        name: str,
        role: Role,
        new_id: IdSource = random_id,
        **more: Any,
    ) -> User:
        """A new user; `more` may hold status, avatar_url and metadata. Raises AlreadyExistsError for a known email."""
        moment = now()
        document = {
            "_id": new_id(Prefix.USER),
            "email": normal_email(email),
            "name": name,
            "role": role.value,
            "status": UserStatus.ACTIVE.value,
            "avatar_url": None,
            "metadata": {},
            "created_at": moment,
            "updated_at": moment,
            **more,
        }
        try:
            self._users(scope).insert_one(document)
        except DuplicateKeyError as error:
            standing = self._users(scope).find_one({"_id": document["_id"]})
            if standing is None:
                raise AlreadyExistsError(f"A user with the email {email!r} exists already.") from error
            return _user(standing)
        return _user({**document, "internal_id": scope.internal_id})

    def get(self, scope: OrganizationScope, email: str) -> User:
        """One user. Raises NotFoundError."""
        found = self._users(scope).find_one({"email": normal_email(email)})
        if found is None:
            raise NotFoundError("The user was not found.")
        return _user(found)

    def update(self, scope: OrganizationScope, user: User, changes: Mapping[str, Any]) -> User:
        """Change name, avatar_url or metadata. Raises NotFoundError when the user is gone."""
        self._users(scope).update_one({"_id": user.user_id}, {"$set": {**changes, "updated_at": now()}})
        return self.get(scope, user.email)

    def list(self, scope: OrganizationScope, only: Selection | None = None) -> list[User]:
        """The organization's users, newest first, as far as `only` includes them: few enough to be read whole."""
        found = self._users(scope).find(narrowed(only, "_id", "email"))
        return sorted(map(_user, found), key=lambda user: user.created_at, reverse=True)

    def _users(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["users"]


def normal_email(email: str) -> str:
    """One spelling for one mailbox: the case of an address says nothing in practice."""
    return email.strip().lower()


def _user(found: Document) -> User:
    return User(
        user_id=found["_id"],
        internal_id=found["internal_id"],
        email=found["email"],
        name=found["name"],
        role=Role(found["role"]),
        status=UserStatus(found["status"]),
        created_at=found["created_at"],
        updated_at=found["updated_at"],
        avatar_url=found["avatar_url"],
        metadata=found["metadata"],
    )
