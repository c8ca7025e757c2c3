"""API keys in MongoDB: verifiers and grants, never a key's text. The last full admin key cannot be lost here."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError

from core.clock import DatabaseClock
from core.errors import AlreadyExistsError, ConflictError, NotFoundError
from core.storage.handles import Handles, OrganizationData, ScopedCollection
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope
from core.storage.selection import Selection, narrowed
from core.tenancy.api_key import ApiKey, KeyGrant, KeyStatus, text_kind
from core.tenancy.keys import KeyVerifier, PresentedKey, mint_key
from core.tenancy.permissions import Permission, Scope
from core.tenancy.tenant import Environment
from core.tenancy.user import Role, User, UserStatus

_HINT_LENGTH = 4
_LAST_ADMIN = (
    "This is the organization's last full admin key, or the last that does not expire: create another one first, "
    "or rotate it."
)


class KeyStore:
    """The keys of all organizations. Every read is from the database: a revocation holds at once."""

    def __init__(
        self, handles: Handles, clock: DatabaseClock, verifier: KeyVerifier, unused_for: timedelta | None
    ) -> None:
        """`unused_for`: a key that slept this long has expired; None lets keys sleep."""
        self._handles = handles
        self._clock = clock
        self._verifier = verifier
        self._unused_for = unused_for

    # Authentication ---------------------------------------------------------------------------------

    def recognise(self, presented: PresentedKey) -> ApiKey | None:
        """The key whose text this is, usable or not, by one read; None for any other, at the same cost of one HMAC."""
        found = self._handles.system["api_keys"].find_one({"_id": presented.key_id})
        pepper_id, sealed = (found["pepper_id"], found["verifier"]) if found else ("", "")
        if not self._verifier.matches(presented, pepper_id, sealed) or found is None:
            return None
        key = _api_key(found)
        if not self._verifier.is_newest(pepper_id):
            self._seal_again(key, presented)
        return key

    def is_usable(self, key: ApiKey) -> bool:
        """Whether a request may be made with the key now."""
        return key.is_usable(self._clock.now(), self._unused_for)

    def status_of(self, key: ApiKey) -> KeyStatus:
        """What has become of the key."""
        return key.status(self._clock.now(), self._unused_for)

    def note_use(self, internal_id: str, used_at: Mapping[str, datetime]) -> None:
        """Record when these keys of one organization were last used."""
        keys = self._keys(OrganizationScope(internal_id))
        for key_id, moment in used_at.items():
            keys.update_one({"_id": key_id}, {"$max": {"last_used_at": moment}})

    # Management -------------------------------------------------------------------------------------

    def create(
        self,
        scope: OrganizationScope,
        user: User,
        name: str,
        grant: KeyGrant,
        key: PresentedKey,
        *,
        description: str | None = None,
        maker: ApiKey | None = None,
    ) -> ApiKey:
        """Store a new key, which works only while its user is active.

        Raises AlreadyExistsError when the user has an active key of that name, and ConflictError when the user has
        lost the role for it, or is gone.
        """
        document = self._document(user.user_id, user.email, name, grant, key, description, maker)

        def write(data: OrganizationData) -> None:
            suspended = _require_owner(data, user.user_id, grant)
            data["api_keys"].insert_one({**document, "is_suspended": suspended})

        self._write(scope, write, f"The user has an active key called {name!r} already.")
        return self._require(scope, key.key_id)

    def issue(self, scope: OrganizationScope, user: User, name: str, grant: KeyGrant) -> PresentedKey:
        """A new key by the operator's hand. Its text is in the answer and nowhere else. Raises AlreadyExistsError."""
        text = mint_key(text_kind(grant.environment))
        self.create(scope, user, name, grant, text)
        return text

    def find(self, scope: OrganizationScope, key_id: str) -> ApiKey | None:
        """A key by its id."""
        found = self._keys(scope).find_one({"_id": key_id})
        return _api_key(found) if found else None

    def get(self, scope: OrganizationScope, user: User, name: str) -> ApiKey:
        """The user's active key of this name. Raises NotFoundError."""
        found = self._keys(scope).find_one({"user_id": user.user_id, "name": name, "active": True})
        if found is None:
            raise NotFoundError("The API key was not found.")
        return _api_key(found)

    def list(
        self, scope: OrganizationScope, user: User, *, include_revoked: bool = False, only: Selection | None = None
    ) -> list[ApiKey]:
        """The user's keys, newest first, as far as `only` includes them."""
        query = {"user_id": user.user_id, **narrowed(only, "_id", "name")}
        if not include_revoked:
            query["revoked_at"] = None
        found = self._keys(scope).find(query)
        return sorted(map(_api_key, found), key=lambda key: key.created_at, reverse=True)

    def update(
        self, scope: OrganizationScope, key: ApiKey, grant: KeyGrant, *, name: str, description: str | None
    ) -> ApiKey:
        """Change what a key may do, and what it is called; the texts that it had before and that still work with it.

        Raises AlreadyExistsError, NotFoundError when it was revoked meanwhile, and ConflictError for the last full
        admin key, or when `key` is not what stands there any more.
        """
        changes = {"$set": {**_grant_fields(grant), "name": name, "description": description}}

        def write(data: OrganizationData) -> None:
            self._require_unchanged(data, key)
            _require_owner(data, key.user_id, grant)
            if not grant.is_full_admin or grant.expires_at is not None:
                self._keep_an_admin(data, without={key.key_id})
            # a text that the key had before a rotation, and that still works, is the same key
            same = [each.key_id for each in _keys_of(data, key.user_id) if each.name == key.name]
            data["api_keys"].update_many({"_id": {"$in": same}}, changes)

        self._write(scope, write, f"The user has an active key called {name!r} already.")
        return self._require(scope, key.key_id)

    def rotate(
        self, scope: OrganizationScope, old: ApiKey, key: PresentedKey, grace_until: datetime, maker: ApiKey | None
    ) -> ApiKey:
        """Put a new text in an old key's place; the old one works until `grace_until`, or its own end when sooner.

        Raises NotFoundError when the old key was revoked or rotated meanwhile, ConflictError when it was changed.
        """
        document = self._document(old.user_id, old.user_email, old.name, old.grant, key, old.description, maker)
        ends = min(filter(None, (grace_until, old.grant.expires_at)))

        def write(data: OrganizationData) -> None:
            self._require_unchanged(data, old)
            suspended = _require_owner(data, old.user_id, old.grant)
            retired = {"$set": {"grace_until": ends}, "$unset": {"active": ""}}
            data["api_keys"].update_one({"_id": old.key_id, "active": True}, retired)
            data["api_keys"].insert_one({**document, "is_suspended": suspended})

        self._write(scope, write, "The key was rotated already.")
        return self._require(scope, key.key_id)

    def revoke(self, scope: OrganizationScope, user: User, name: str) -> int:
        """End a key, and those that it replaced and that still work. Raises ConflictError for the last full admin key.

        How many ended: 0 when there was none.
        """
        ended: list[int] = []

        def write(data: OrganizationData) -> None:
            ended.append(self._end(data, [key for key in _keys_of(data, user.user_id) if key.name == name]))

        self._write(scope, write, "")
        return ended[-1]

    def remove_user(self, scope: OrganizationScope, user: User) -> None:
        """Remove a user and end their keys. Raises ConflictError when the last full admin key is among them."""

        def write(data: OrganizationData) -> None:
            self._end(data, _keys_of(data, user.user_id))
            data["users"].delete_one({"_id": user.user_id})

        self._write(scope, write, "")

    def set_standing(self, scope: OrganizationScope, user: User, role: Role, status: UserStatus) -> None:
        """Change a user's role and status. Keys of a user who is not active do not work, and a lower role takes from
        the keys what is above it.

        Raises ConflictError when no full admin key would be left.
        """
        highest, suspended = role.highest_permission, status is not UserStatus.ACTIVE

        def write(data: OrganizationData) -> None:
            keys = list(_keys_of(data, user.user_id))
            above = [key for key in keys if not highest.allows(key.grant.permission)]
            self._keep_an_admin(data, without={key.key_id for key in (keys if suspended else above)})
            data["users"].update_one({"_id": user.user_id}, {"$set": {"role": role.value, "status": status.value}})
            data["api_keys"].update_many({"user_id": user.user_id}, {"$set": {"is_suspended": suspended}})
            for key in above:
                kept = [each.value for each in key.grant.permissions if highest.allows(each)]
                data["api_keys"].update_one({"_id": key.key_id}, {"$set": {"permissions": kept or [highest.value]}})

        self._write(scope, write, "")

    def _end(self, data: OrganizationData, keys: Iterable[ApiKey]) -> int:
        """Revoke keys; how many that were."""
        found = [key.key_id for key in keys]
        self._keep_an_admin(data, without=found)
        revoked = {"$set": {"revoked_at": self._clock.now(), "grace_until": None}, "$unset": {"active": ""}}
        return data["api_keys"].update_many({"_id": {"$in": found}}, revoked) if found else 0

    def _require_unchanged(self, data: OrganizationData, key: ApiKey) -> None:
        """Raises NotFoundError when the key is no longer active, ConflictError when it is not what was looked at."""
        found = data["api_keys"].find_one({"_id": key.key_id, "active": True})
        if found is None:
            raise NotFoundError("The API key was not found.")
        if (standing := _api_key(found)).grant != key.grant or standing.name != key.name:
            raise ConflictError("The API key was changed meanwhile: look at it and try again.")

    def _keep_an_admin(self, data: OrganizationData, without: Iterable[str]) -> None:
        """Raises ConflictError unless a full admin key stays usable without these."""
        admins = map(_api_key, data["api_keys"].find({"permissions": Permission.ADMIN.value, "active": True}))
        usable = [key for key in admins if key.grant.is_full_admin and self.is_usable(key)]
        gone = set(without)
        # one that ends by itself is no substitute for one that lasts
        for group in (usable, [key for key in usable if key.grant.expires_at is None]):
            standing = {key.key_id for key in group}
            if standing & gone and not standing - gone:
                raise ConflictError(_LAST_ADMIN)

    def _write(self, scope: OrganizationScope, write: Callable[[OrganizationData], None], taken: str) -> None:
        """Make a change of keys or their owners. Two of one organization never overlap."""

        def alone(data: OrganizationData) -> None:
            # two of these at once collide here, before they read, so that each sees what the other left
            data["organizations"].update_one({"_id": data.scope.internal_id}, {"$inc": {"key_changes": 1}})
            write(data)

        try:
            self._handles.organization(scope).all_or_nothing(alone)
        except DuplicateKeyError as error:
            raise AlreadyExistsError(taken) from error

    def _require(self, scope: OrganizationScope, key_id: str) -> ApiKey:
        found = self.find(scope, key_id)
        if found is None:
            raise NotFoundError("The API key was not found.")
        return found

    def _seal_again(self, key: ApiKey, presented: PresentedKey) -> None:
        """Move a key to the newest pepper at its first use after a rotation of peppers."""
        pepper_id, verifier = self._verifier.seal(presented)
        self._keys(OrganizationScope(key.internal_id)).update_one(
            {"_id": key.key_id}, {"$set": {"pepper_id": pepper_id, "verifier": verifier}}
        )

    def _document(
        self,
        user_id: str,
        user_email: str,
        name: str,
        grant: KeyGrant,
        key: PresentedKey,
        description: str | None,
        maker: ApiKey | None,
    ) -> Document:
        pepper_id, verifier = self._verifier.seal(key)
        return {
            "_id": key.key_id,
            "user_id": user_id,
            "user_email": user_email,
            "name": name,
            "description": description,
            **_grant_fields(grant),
            "active": True,
            "is_suspended": False,
            "grace_until": None,
            "revoked_at": None,
            "last_used_at": None,
            "pepper_id": pepper_id,
            "verifier": verifier,
            "hint": key.text[-_HINT_LENGTH:],
            "created_at": self._clock.now(),
            "created_by": maker.key_id if maker else None,
        }

    def _keys(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["api_keys"]


def _keys_of(data: OrganizationData, user_id: str) -> Iterator[ApiKey]:
    """A user's keys that were not revoked."""
    return map(_api_key, data["api_keys"].find({"user_id": user_id, "revoked_at": None}))


def _require_owner(data: OrganizationData, user_id: str, grant: KeyGrant) -> bool:
    """Whether the user's keys are suspended. Raises ConflictError when the user may not hold such a key (any more)."""
    user = data["users"].find_one({"_id": user_id})
    if user is None or not Role(user["role"]).highest_permission.allows(grant.permission):
        raise ConflictError("The key's user was removed, or has not the role for it.")
    return UserStatus(user["status"]) is not UserStatus.ACTIVE


def _grant_fields(grant: KeyGrant) -> Document:
    return {
        "permissions": [permission.value for permission in grant.permissions],
        "scopes": [scope.to_document() for scope in grant.scopes],
        "environment": grant.environment.value if grant.environment else None,
        "allowed_origins": list(grant.allowed_origins),
        "allowed_cidrs": list(grant.allowed_cidrs),
        "requests_per_minute": grant.requests_per_minute,
        "expires_at": grant.expires_at,
    }


def _api_key(found: Document) -> ApiKey:
    return ApiKey(
        key_id=found["_id"],
        internal_id=found["internal_id"],
        user_id=found["user_id"],
        user_email=found["user_email"],
        name=found["name"],
        grant=KeyGrant(
            permissions=tuple(Permission(name) for name in found["permissions"]),
            scopes=tuple(Scope.from_document(scope) for scope in found["scopes"]),
            environment=Environment(found["environment"]) if found["environment"] else None,
            allowed_origins=tuple(found["allowed_origins"]),
            allowed_cidrs=tuple(found["allowed_cidrs"]),
            requests_per_minute=found["requests_per_minute"],
            expires_at=found["expires_at"],
        ),
        hint=found["hint"],
        created_at=found["created_at"],
        description=found["description"],
        created_by=found["created_by"],
        is_active=bool(found.get("active")),
        is_suspended=found["is_suspended"],
        grace_until=found["grace_until"],
        revoked_at=found["revoked_at"],
        last_used_at=found["last_used_at"],
    )
