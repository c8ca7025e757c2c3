"""A route as data: all that the one dispatcher enforces before a handler runs, and all that OpenAPI says of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pydantic import BaseModel

from api.call import Call, Reply
from api.decode import USUAL, BodyLimits
from core.audit.actions import AuditAction
from core.credits.prices import PriceClass
from core.limits.policy import RateClass
from core.tenancy.permissions import OPERATION_OF, Operation, Permission, ResourceType

MEBIBYTE = 1024 * 1024
JSON: Final = "application/json"


class NamespaceMode(Enum):
    """What a route does with `X-Namespace`."""

    REQUIRED = "required"
    """400 without it"""
    OPTIONAL = "optional"
    """its absence is fine; when sent it is checked, and narrows lists"""
    NONE = "none"
    """not looked at"""


@dataclass(frozen=True)
class Resource:
    """What a route is about: a type and the path parameters that name one of it, from the inside out."""

    type: ResourceType
    parameter: str | None = None
    """the path parameter with its id or name; None for lists and creates"""
    parent: "Resource | None" = None
    """a scope on the bucket covers its objects"""
    sent: bool = False
    """whether it is the namespace that the request names in its header"""


@dataclass(frozen=True)
class Route:
    """One method on one path."""

    method: str
    rule: str
    name: str
    """`noun.verb`, unique; logs and Idempotency-Keys carry it"""
    handler: Callable[[Call], Reply]
    permission: Permission | None
    """what the key must allow; None needs no key at all"""
    resource: Resource | None = None
    """what a key's scopes are compared with; None only for what needs no key"""
    operation: Operation | None = None
    """what a scope must allow, where the permission does not say it"""
    rate: RateClass = RateClass.METADATA
    price: PriceClass = PriceClass.FREE
    namespace: NamespaceMode = NamespaceMode.REQUIRED
    audit: AuditAction | None = None
    idempotent: bool = False
    """whether an Idempotency-Key is honoured: every POST that creates or starts something"""
    max_body_bytes: int = MEBIBYTE
    body_limits: BodyLimits = USUAL
    """of its JSON; more than usual where a body carries a customer's bytes"""
    body: type[BaseModel] | None = None
    """the request body, for OpenAPI; the handler parses it. None ignores whatever is sent"""
    query: type[BaseModel] | None = None
    """the query parameters, for OpenAPI; the handler parses them"""
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)
    """successful answers by status; None has no body, or one that is not JSON"""
    hurried: bool = False
    """whether it is answered within two seconds whatever is away: what lets it in is asked, within a bound, before"""
    produces: tuple[str, ...] = (JSON,)
    """the media types of its successful answers"""

    @property
    def limited_as(self) -> str:
        """What a plan calls it that limits it: a route that older clients find at a second place is counted as one."""
        return self.name.removesuffix("_by_get").removesuffix("_201")

    @property
    def takes_body(self) -> bool:
        """Whether requests of its method carry a body."""
        return self.method in {"POST", "PUT", "PATCH"}

    @property
    def operation_needed(self) -> Operation:
        """What a scope must allow."""
        if self.operation or self.permission is None:
            return self.operation or Operation.READ_DATA
        return OPERATION_OF[self.permission]


ORGANIZATION: Final = Resource(ResourceType.ORGANIZATION)
NAMESPACES: Final = Resource(ResourceType.NAMESPACE)
NAMESPACE: Final = Resource(ResourceType.NAMESPACE, "namespace_id")
SENT_NAMESPACE: Final = Resource(ResourceType.NAMESPACE, sent=True)
BUCKETS: Final = Resource(ResourceType.BUCKET)
BUCKET: Final = Resource(ResourceType.BUCKET, "bucket_id")
COLLECTIONS: Final = Resource(ResourceType.COLLECTION)
COLLECTION: Final = Resource(ResourceType.COLLECTION, "collection_id")
DOCUMENTS: Final = Resource(ResourceType.DOCUMENT, parent=COLLECTION)
DOCUMENT: Final = Resource(ResourceType.DOCUMENT, "document_id", COLLECTION)
RETRIEVERS: Final = Resource(ResourceType.RETRIEVER)
RETRIEVER: Final = Resource(ResourceType.RETRIEVER, "retriever_id")
SECRETS: Final = Resource(ResourceType.SECRET)
SECRET: Final = Resource(ResourceType.SECRET, "secret_name")
TASKS: Final = Resource(ResourceType.TASK)
TASK: Final = Resource(ResourceType.TASK, "task_id")
WEBHOOKS: Final = Resource(ResourceType.WEBHOOK)
WEBHOOK: Final = Resource(ResourceType.WEBHOOK, "webhook_id")
USERS: Final = Resource(ResourceType.USER)
USER: Final = Resource(ResourceType.USER, "user_email")
API_KEYS: Final = Resource(ResourceType.API_KEY, parent=USER)
API_KEY: Final = Resource(ResourceType.API_KEY, "key_name", USER)
