"""Secrets in MongoDB: sealed values, ten versions of each, limits on their use. It gives an open value to nobody."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import structlog
from pymongo.errors import DuplicateKeyError

from core.clock import now
from core.errors import (
    AlreadyExistsError,
    ConflictError,
    FieldProblem,
    IntegrityError,
    NotFoundError,
    SecretUnreadableError,
    ValidationFailedError,
)
from core.storage.handles import Handles, OrganizationData, ScopedCollection
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope
from core.storage.selection import Selection, narrowed
from core.vault.cipher import Cipher, DataKey, SealedValue, SecretRecord
from core.vault.data_keys import DataKeys
from core.vault.secret import (
    MAX_SECRETS,
    VERSIONS_KEPT,
    Secret,
    SecretLimits,
    SecretVersion,
    host_problems,
    limits_document,
    name_problems,
    secret_from_document,
    value_problems,
)

log = structlog.get_logger(__name__)


class SecretStore:
    """The secrets of all organizations, by name inside each."""

    def __init__(self, handles: Handles, keys: DataKeys, cipher: Cipher) -> None:
        self._handles = handles
        self._keys = keys
        self._cipher = cipher

    # Reading ----------------------------------------------------------------------------------------

    def get(self, scope: OrganizationScope, name: str) -> Secret:
        """One secret. Raises NotFoundError."""
        return secret_from_document(self._document(scope, name))

    def names(self, scope: OrganizationScope, only: Selection | None = None) -> list[str]:
        """The names of the organization's secrets, as far as `only` includes them, in order."""
        found = self._secrets(scope).find(narrowed(only, "name"), {"name": 1})
        return sorted(row["name"] for row in found)

    def existing(self, scope: OrganizationScope, names: Iterable[str]) -> set[str]:
        """Those of the names that are names of secrets."""
        wanted = sorted(set(names))
        if not wanted:
            return set()
        return {row["name"] for row in self._secrets(scope).find({"name": {"$in": wanted}}, {"name": 1})}

    def versions(self, secret: Secret) -> list[SecretVersion]:
        """The versions that are kept, newest first."""
        found = self._versions(OrganizationScope(secret.internal_id)).find(
            {"secret_id": secret.secret_id}, {"version": 1, "created_at": 1, "created_by": 1}
        )
        rows = sorted(found, key=lambda row: int(row["version"]), reverse=True)
        return [SecretVersion(row["version"], row["created_at"], row["created_by"]) for row in rows]

    def sealed(self, scope: OrganizationScope, names: Iterable[str]) -> dict[str, tuple[Secret, SealedValue]]:
        """The secrets with these names, as far as they exist, with their sealed values: for the resolver alone."""
        wanted = sorted(set(names))
        # an equality is the cheaper query, and one name is the usual case
        found = self._secrets(scope).find({"name": wanted[0] if len(wanted) == 1 else {"$in": wanted}})
        return {row["name"]: (secret_from_document(row), SealedValue.of(row)) for row in found}

    # Writing ----------------------------------------------------------------------------------------

    def create(
        self,
        scope: OrganizationScope,
        secret_id: str,
        name: str,
        value: str,
        limits: SecretLimits,
        created_by: str | None = None,
    ) -> Secret:
        """A new secret; the same id again gives the one that stands.

        Raises ValidationFailedError, AlreadyExistsError for a taken name, ConflictError for one too many.
        """
        _refuse([*name_problems(name), *value_problems(value), *host_problems(limits.allowed_hosts)])
        if self._secrets(scope).count({}) >= MAX_SECRETS:
            raise ConflictError(f"An organization may have {MAX_SECRETS} secrets; remove one first.")
        record, moment = SecretRecord(scope.internal_id, secret_id, name), now()

        def write(data: OrganizationData, key: DataKey) -> None:
            sealed = _sealed_fields(self._cipher.seal(key, record, value))
            fields = {"name": name, "version": 1, "created_by": created_by, "created_at": moment, **sealed}
            more = {**limits_document(limits), "updated_at": moment, "last_used_at": None}
            data["secrets"].insert_one({"_id": secret_id, **fields, **more})
            data["secret_versions"].insert_one({"_id": _version_id(record), "secret_id": secret_id, **fields})

        try:
            self._keys.write_sealed(scope, write)
        except DuplicateKeyError as error:
            standing = self.get(scope, name)
            if standing.secret_id != secret_id:
                raise AlreadyExistsError(
                    f"A secret called {name!r} exists already; PUT gives it a new value."
                ) from error
            return standing
        return self.get(scope, name)

    def update(self, scope: OrganizationScope, name: str, value: str, created_by: str | None = None) -> Secret:
        """Give a secret a new value, as its next version. Raises NotFoundError, ValidationFailedError."""
        _refuse(value_problems(value))
        return self._add_version(scope, name, lambda _secret: value, created_by)

    def roll_back(self, scope: OrganizationScope, name: str, to_version: int, created_by: str | None = None) -> Secret:
        """Give a secret an earlier value again, as its next version.

        Raises NotFoundError for a version that is not kept, SecretUnreadableError for one that does not open.
        """

        def earlier(secret: Secret) -> str:
            found = self._versions(scope).find_one({"secret_id": secret.secret_id, "version": to_version})
            if found is None:
                raise NotFoundError(f"The version {to_version} of the secret is not kept.")
            record = SecretRecord(secret.internal_id, secret.secret_id, secret.name, to_version)
            try:
                return self._cipher.open(record, SealedValue.of(found))
            except IntegrityError as error:
                log.error(
                    "vault.version_unreadable", secret_id=secret.secret_id, version=to_version, error=error.message
                )
                raise SecretUnreadableError from None

        return self._add_version(scope, name, earlier, created_by)

    def limit(self, scope: OrganizationScope, name: str, change: Callable[[SecretLimits], SecretLimits]) -> Secret:
        """Replace what is said about the use of a secret by what `change` makes of it.

        Two at once change it one after the other, so that none takes back what the other has forbidden. Raises
        NotFoundError, ValidationFailedError.
        """

        def write(data: OrganizationData) -> None:
            found = data["secrets"].find_one({"name": name})
            if found is None:
                raise _absent()
            limits = change(secret_from_document(found).limits)
            _refuse(host_problems(limits.allowed_hosts))
            changes = {**limits_document(limits), "updated_at": now()}
            data["secrets"].update_one({"_id": found["_id"]}, {"$set": changes})

        self._handles.organization(scope).all_or_nothing(write)
        return self.get(scope, name)

    def delete(self, scope: OrganizationScope, name: str) -> None:
        """Remove a secret with its versions and its access patterns. Raises NotFoundError."""
        secret_id = self.get(scope, name).secret_id

        def write(data: OrganizationData) -> None:
            data["secrets"].delete_one({"_id": secret_id})
            data["secret_versions"].delete_many({"secret_id": secret_id})
            data["secret_access"].delete_many({"secret_id": secret_id})

        self._handles.organization(scope).all_or_nothing(write)

    def note_use(self, internal_id: str, used_at: Mapping[str, datetime]) -> None:
        """Record when these secrets of one organization were last used."""
        secrets = self._secrets(OrganizationScope(internal_id))
        for secret_id, moment in used_at.items():
            secrets.update_one({"_id": secret_id}, {"$max": {"last_used_at": moment}})

    def _add_version(
        self, scope: OrganizationScope, name: str, value_of: Callable[[Secret], str], created_by: str | None
    ) -> Secret:
        """The next version, with what `value_of` gives for the secret. Two at once make two versions, one after the
        other: the second meets the first in the database and begins again."""
        moment = now()

        def write(data: OrganizationData, key: DataKey) -> None:
            found = data["secrets"].find_one({"name": name})
            if found is None:
                raise _absent()
            secret = secret_from_document(found)
            record = SecretRecord(secret.internal_id, secret.secret_id, name, secret.version + 1)
            sealed = _sealed_fields(self._cipher.seal(key, record, value_of(secret)))
            fields = {"version": record.version, **sealed}
            data["secrets"].update_one({"_id": secret.secret_id}, {"$set": {**fields, "updated_at": moment}})
            data["secret_versions"].insert_one(
                {
                    "_id": _version_id(record),
                    "secret_id": secret.secret_id,
                    "name": name,
                    "created_by": created_by,
                    "created_at": moment,
                    **fields,
                }
            )
            too_old = {"$lte": record.version - VERSIONS_KEPT}
            data["secret_versions"].delete_many({"secret_id": secret.secret_id, "version": too_old})

        self._keys.write_sealed(scope, write)
        return self.get(scope, name)

    def _document(self, scope: OrganizationScope, name: str) -> Document:
        found = self._secrets(scope).find_one({"name": name})
        if found is None:
            raise _absent()
        return found

    def _secrets(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["secrets"]

    def _versions(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["secret_versions"]


def _sealed_fields(sealed: SealedValue) -> dict[str, Any]:
    return {"token": sealed.token, "dek_version": sealed.dek_version, "enc": sealed.enc}


def _version_id(record: SecretRecord) -> str:
    return f"{record.record_id}.{record.version}"


def _refuse(problems: list[FieldProblem]) -> None:
    if problems:
        raise ValidationFailedError(problems)


def _absent() -> NotFoundError:
    return NotFoundError("The secret was not found.")
