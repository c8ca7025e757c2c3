"""What a handler gets and gives: a request that has passed every check, and an answer. Free of Flask."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api.schemas.fields import Answer
from core.audit.entry import ChangeDigest
from core.bootstrap import Services
from core.errors import FieldProblem, InvalidRequestError, PermissionDeniedError, ValidationFailedError
from core.ids import IdSource, random_id
from core.storage.scope import NamespaceScope, OrganizationScope
from core.storage.selection import Selection
from core.tenancy.api_key import Caller
from core.tenancy.permissions import IN_NAMESPACE, Named, Operation, ResourceType, scopes_permit
from core.tenancy.tenant import Namespace

Model = TypeVar("Model", bound=BaseModel)

_WARNINGS_SHOWN = 20


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

    def parse(self, model: type[Model]) -> Model:
        """The body as a typed request; unknown keys are ignored and named in the warnings.

        Raises ValidationFailedError, which names each bad field.
        """
        known = known_keys(model)
        self.warn_of_unknown({name: value for name, value in self.body.items() if name not in known})
        return validated(model, self.body)

    def parse_query(self, model: type[Model]) -> Model:
        """The query as typed parameters. Raises ValidationFailedError, which names each bad one."""
        return validated(model, self.query)

    def warn_of_unknown(self, ignored: Mapping[str, Any]) -> None:
        """Say that these parts of the body were ignored; a null asks for nothing."""
        names = sorted(name for name, value in ignored.items() if value is not None)
        self.warnings.extend(f"Unknown key {name!r} was ignored." for name in names[:_WARNINGS_SHOWN])

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


def known_keys(model: type[BaseModel]) -> set[str]:
    """Every key that a model reads, aliases included."""
    names = set()
    for name, info in model.model_fields.items():
        alias = info.validation_alias
        names.update({name} if alias is None else {alias} if isinstance(alias, str) else _choices(alias))
    return names


def _choices(alias: object) -> set[str]:
    return {choice for choice in getattr(alias, "choices", ()) if isinstance(choice, str)}


def _warned(body: Any, warnings: list[str]) -> Any:
    if not isinstance(body, Answer):
        return body
    return body.model_copy(update={"warnings": [*body.warnings, *warnings]})


def refuse(location: str, message: str) -> InvalidRequestError:
    """A ValidationFailedError about one field."""
    return ValidationFailedError([FieldProblem((location,), message)])
