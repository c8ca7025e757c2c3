"""Organizations in MongoDB. It never removes one, and never shows `internal_id` to anybody."""

from collections.abc import Mapping
from typing import Any

from core.clock import now
from core.errors import NotFoundError
from core.ids import Prefix, random_id
from core.limits.policy import RateClass
from core.storage.handles import Handles
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope
from core.tenancy.tenant import Organization

_CHANGEABLE = frozenset(
    {
        "name", "logo_url", "billing_email", "notifications_email", "metadata", "rate_limit_overrides",
        "default_llm_credentials",
    }
)  # fmt: skip


class OrganizationStore:
    """The organizations of this installation."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def create(self, name: str, email: str, plan: str) -> Organization:
        """A new organization, without users, keys or namespaces. An operator's act, never a route."""
        moment = now()
        organization = Organization(
            internal_id=random_id(Prefix.INTERNAL),
            organization_id=random_id(Prefix.ORGANIZATION),
            name=name,
            email=email,
            plan=plan,
            created_at=moment,
            updated_at=moment,
        )
        self._handles.organization(organization.scope)["organizations"].insert_one(
            {
                "_id": organization.internal_id,
                "organization_id": organization.organization_id,
                "name": name,
                "email": email,
                "plan": plan,
                "created_at": moment,
                "updated_at": moment,
            }
        )
        return organization

    def get(self, scope: OrganizationScope) -> Organization:
        """The organization behind a scope. Raises NotFoundError."""
        found = self._handles.organization(scope)["organizations"].find_one({"_id": scope.internal_id})
        if found is None or found.get("deleted_at"):
            raise NotFoundError
        return _organization(found)

    def update(self, scope: OrganizationScope, changes: Mapping[str, Any]) -> Organization:
        """Change some fields. Raises NotFoundError, and ValueError for a field that is not the customer's."""
        if strangers := changes.keys() - _CHANGEABLE:
            raise ValueError(f"not changeable: {', '.join(sorted(strangers))}")
        self._handles.organization(scope)["organizations"].update_one(
            {"_id": scope.internal_id}, {"$set": {**changes, "updated_at": now()}}
        )
        return self.get(scope)

    def find(self, organization_id: str) -> Organization:
        """The organization with a public id, for operators, a deleted one too. Raises NotFoundError."""
        found = self._handles.system["organizations"].find_one({"organization_id": organization_id})
        if found is None:
            raise NotFoundError(f"There is no organization {organization_id}.")
        return _organization(found)

    def list(self) -> list[Organization]:
        """Every organization, for operators, deleted ones among them."""
        return [_organization(found) for found in self._handles.system["organizations"].find()]


def _organization(found: Document) -> Organization:
    overrides = found.get("rate_limit_overrides") or {}
    return Organization(
        internal_id=found["internal_id"],
        organization_id=found["organization_id"],
        name=found["name"],
        email=found["email"],
        plan=found["plan"],
        created_at=found["created_at"],
        updated_at=found["updated_at"],
        logo_url=found.get("logo_url"),
        billing_email=found.get("billing_email"),
        notifications_email=found.get("notifications_email"),
        metadata=found.get("metadata") or {},
        rate_limit_overrides={RateClass(name): value for name, value in overrides.items()},
        default_llm_credentials=found.get("default_llm_credentials") or {},
        deleted_at=found.get("deleted_at"),
        read_auditing_enabled=bool((found.get("audit_settings") or {}).get("read_auditing_enabled")),
    )
