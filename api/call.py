"""What a handler gets and gives: a request that has passed every check, and an answer. Free of Flask."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api.schemas.fields import Answer, Body, Query
from core.audit.entry import ChangeDigest
from core.backends.backend import Backend
from core.bootstrap import Services
from core.errors import FieldProblem, InvalidRequestError, PermissionDeniedError, ValidationFailedError
from core.ids import IdSource, random_id
from core.storage.scope import NamespaceScope, OrganizationScope
from core.storage.selection import Selection
from core.tenancy.api_key import Caller
from core.tenancy.permissions import IN_NAMESPACE, Named, Operation, ResourceType, scopes_permit
from core.tenancy.tenant import Namespace
from core.unknown_keys import UnknownKey, unknown_keys, warnings_of

Model = TypeVar("Model", bound=BaseModel)

_WARNINGS_SHOWN = 50
_ORDER_AND_FORM = frozenset({"sort", "sorts", "case_sensitive", "limit", "page_size", "offset", "page", "cursor",
                             "next_cursor", "after", "include_total", "select", "expand", "return_presigned_urls",
                             "return_vectors", "return_vector_names"})  # fmt: skip
"""Keys of a list's body, as published clients send them, that choose no records: they are ignored with a warning."""


@dataclass(frozen=True)
class Reply:
    """An answer. `body` None sends none."""

    body: BaseModel | bytes | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    replay: BaseModel | None = None
    """what a repetition with the same Idempotency-Key gets, when the body has a secret that is shown once"""
    resource_id: str | None = None
    """what was made, for the audit log"""
    changes: ChangeDigest | None = None
    """what was changed, for the audit log"""

    def with_warnings(self, warnings: list[str]) -> "Reply":
        """The same answer with `warnings` beside its fields."""
        if not warnings:
            return self
        return replace(self, body=_warned(self.body, warnings), replay=_warned(self.replay, warnings))


@dataclass(frozen=True)
class Call:
    """One request of a known caller, decoded. Header names are in Title-Case."""

    services: Services
    request_id: str
    caller: Caller | None
    namespace: Namespace | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    new_id: IdSource = random_id
    """ids of new records; the same at each try under one Idempotency-Key"""
    warnings: list[str] = field(default_factory=list)
    """said to the caller in the answer"""
    address: str = ""
    """where the request comes from"""
    visible: Selection | None = None
    """what of a list the key's scopes let it see; None is all of it"""

    @property
    def known_caller(self) -> Caller:
        """The caller of a route that needs a key."""
        if self.caller is None:
            raise LookupError("this route is public: it has no caller")
        return self.caller

    @property
    def organization(self) -> OrganizationScope:
        """The caller's organization."""
        return self.known_caller.scope

    @property
    def known_namespace(self) -> Namespace:
        """The namespace of a route that needs one."""
        if self.namespace is None:
            raise LookupError("this route has no namespace")
        return self.namespace

    @property
    def scope(self) -> NamespaceScope:
        """Its scope."""
        return self.known_namespace.scope

    @property
    def narrowest_scope(self) -> OrganizationScope:
        """The namespace when the caller named one, else the organization.

        Raises InvalidRequestError when the key is bound to an environment and so must name one.
        """
        if self.namespace is None and self.known_caller.key.grant.environment:
            raise InvalidRequestError("This API key is bound to an environment: send the header X-Namespace.")
        return self.namespace.scope if self.namespace else self.organization

    def require_readable(self, type: ResourceType, *names: str) -> None:
        """Raises PermissionDeniedError when the key's scopes do not let it read what a body refers to.

        Without names: when they do not let it read all of the type.
        """
        scopes = self.known_caller.key.grant.scopes
        targets = [Named(type, names)]
        if self.namespace and type in IN_NAMESPACE:
            targets.append(Named(ResourceType.NAMESPACE, (self.namespace.namespace_id, self.namespace.name)))
        if scopes and not scopes_permit(scopes, Operation.READ_DATA, targets):
            raise PermissionDeniedError(f"This API key's scopes do not let it read every {type} that is named here.")

    def require(self, needed: Collection[Backend]) -> None:
        """Raises BackendAwayError for a backend that is needed and known to be away: before anything is done."""
        self.services.backends.require(*needed)

    def parse(self, model: type[Model]) -> Model:
        """The body as a typed request; unknown keys are ignored and named in the warnings.

        Raises ValidationFailedError, which names each bad field.
        """
        self.warn_of(unknown_keys(model, _read_here(self.body)))
        return validated(model, self.body)

    def parse_filter(self, model: type[Model]) -> Model:
        """The body as what narrows a list. Raises ValidationFailedError for unknown keys too: without what was meant
        by them, the list would have more than was asked for."""
        unknown = unknown_keys(model, _read_here(self.body))
        named = [(key, str(key.location[0])) for key in unknown]
        narrowing = [key for key, name in named if name not in _ORDER_AND_FORM and self.body[name]]
        if narrowing:
            raise ValidationFailedError([FieldProblem(key.location, _no_such_filter(key)) for key in narrowing])
        self.warn_of(unknown)
        return validated(model, self.body)

    def take_nothing(self) -> None:
        """Name whatever was sent to a route that reads nothing but its path."""
        self.parse(Body)
        self.parse_query(Query)

    def parse_query(self, model: type[Model]) -> Model:
        """The query as typed parameters; unknown ones are ignored and named in the warnings.

        Raises ValidationFailedError, which names each bad one.
        """
        self.warn_of(unknown_keys(model, _read_here(self.query)), "query parameter")
        return validated(model, self.query)

    def warn_of(self, unknown: list[UnknownKey], noun: str = "key") -> None:
        """Say that these parts of the request have no effect."""
        self.warn(warnings_of(unknown, noun))

    def warn(self, sentences: list[str]) -> None:
        """Say these things beside the answer; of very many the first."""
        self.warnings.extend(sentences[:_WARNINGS_SHOWN])
        if len(sentences) > _WARNINGS_SHOWN:
            self.warnings.append(f"{len(sentences) - _WARNINGS_SHOWN} more warnings like these are left out.")

    def changed(self, before: BaseModel, after: BaseModel) -> ChangeDigest:
        """What a change touched, for the audit log: names and digests, no values."""
        return self.services.audit.digest(
            self.organization, before.model_dump(mode="json"), after.model_dump(mode="json")
        )

    def prefers(self, preference: str) -> bool:
        """Whether the Prefer header asks for this."""
        return preference in {part.strip().lower() for part in self.headers.get("Prefer", "").split(",")}


def validated(model: type[Model], value: object, at: tuple[str | int, ...] = ()) -> Model:
    """`value` as a model. Raises ValidationFailedError with locations that start with `at`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ValidationFailedError(
            [FieldProblem(at + item["loc"], item["msg"], item["type"]) for item in error.errors(include_url=False)]
        ) from error


def _read_here(sent: Mapping[str, Any]) -> dict[str, Any]:
    # what a namespace_id says was compared with the header's when the request came in
    return {name: value for name, value in sent.items() if name != "namespace_id"}


def _no_such_filter(key: UnknownKey) -> str:
    if key.meant:
        return f"no such filter: did you mean {key.meant}?"
    return f"this list cannot be narrowed so: {', '.join(key.known) or 'it has no filters'}"


def _warned(body: Any, warnings: list[str]) -> Any:
    if not isinstance(body, Answer):
        return body
    return body.model_copy(update={"warnings": [*body.warnings, *warnings]})


def refuse(location: str, message: str) -> InvalidRequestError:
    """A ValidationFailedError about one field."""
    return ValidationFailedError([FieldProblem((location,), message)])
