"""Whose data: the two ids without which no handle can be built. Pure values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OrganizationScope:
    """One paying tenant, by the id that never leaves the system."""

    internal_id: str

    def __post_init__(self) -> None:
        if not isinstance(self.internal_id, str) or not self.internal_id.startswith("int_"):
            raise ValueError("internal_id must be an int_… string: a handle without a tenant is refused")


@dataclass(frozen=True)
class NamespaceScope(OrganizationScope):
    """One namespace of one tenant."""

    namespace_id: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.namespace_id, str) or not self.namespace_id.startswith("ns_"):
            raise ValueError("namespace_id must be an ns_… string: a handle without a namespace is refused")

    @property
    def organization(self) -> OrganizationScope:
        """The tenant alone."""
        return OrganizationScope(self.internal_id)
