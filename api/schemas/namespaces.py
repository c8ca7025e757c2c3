"""Namespaces on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.schemas.fields import Answer, Body, Description, Query
from api.schemas.paging import TotalCountListView
from core.ids import Prefix
from core.tenancy.tenant import Environment, Namespace

_Name = Annotated[
    str,
    StringConstraints(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9_-]*$"),
    # nor may it be mistaken for an id, which the store refuses
    Field(json_schema_extra={"pattern": rf"^(?!{Prefix.NAMESPACE.value})[a-z0-9][a-z0-9_-]*$"}),
]
_EnvironmentField = Annotated[Environment, Field(strict=False)]


class NamespaceBody(Body):
    """A new namespace."""

    namespace_name: _Name
    description: Description | None = None
    environment: _EnvironmentField | None = None
    """What it is used for; keys that are bound to an environment reach only its namespaces."""


class NamespaceChanges(Body):
    """What changes in a namespace: what is left out stays."""

    namespace_name: _Name | None = None
    description: Description | None = None
    environment: _EnvironmentField | None = None

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, as the store names them."""
        sent = self.model_dump(mode="json", exclude_unset=True)
        name = sent.pop("namespace_name", None)
        return sent | ({"name": name} if name else {})


class DeletionQuery(Query):
    """DELETE of a namespace."""

    force: bool = False
    """Cancel the jobs that are under way, instead of being refused because of them."""


class NamespaceView(Answer):
    """The published NamespaceModel."""

    object: Literal["namespace"]
    """The published name of the kind."""
    namespace_id: str
    """Send it, or the name, as X-Namespace."""
    namespace_name: str
    """Unique in the organization."""
    description: str | None
    """What it is for."""
    environment: Environment | None
    """What it is used for."""
    namespace_ready: bool
    """Whether it takes requests."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class NamespaceList(TotalCountListView[NamespaceView]):
    """A page of namespaces."""


def show_namespace(namespace: Namespace) -> NamespaceView:
    """A namespace as its organization sees it."""
    return NamespaceView(
        object="namespace",
        namespace_id=namespace.namespace_id,
        namespace_name=namespace.name,
        description=namespace.description,
        environment=namespace.environment,
        namespace_ready=True,
        created_at=namespace.created_at,
        updated_at=namespace.updated_at,
    )
