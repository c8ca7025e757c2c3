"""A complete tenant: one of every kind of resource that a path can name, with its marker in every field of text.

What workers would make (documents, results, deliveries, attempts) is put there through the stores.
"""

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.audit.actions import AuditAction
from core.bootstrap import Services
from core.clock import now
from core.ids import Prefix, random_id
from core.jobs.job import Decision, JobState
from core.retrievers.executions import execution_id_of
from core.storage.scope import NamespaceScope
from core.tenancy.api_key import KeyGrant
from core.tenancy.permissions import Permission, ResourceType, Scope
from core.tenancy.tenant import Environment
from core.tenancy.user import Role, User
from core.webhooks.delivery import AttemptResult
from core.webhooks.event import Event, EventType, Subject
from core.webhooks.relay import relay_events
from tests.claiming import claimed
from tests.integration.bodies import SEARCH_STAGE, WEBHOOK, collection_body

_numbers = itertools.count()


@dataclass
class Estate:
    """A tenant's things, and the value of each path parameter that names one of them."""

    services: Services
    scope: NamespaceScope
    organization_id: str
    marker: str
    call: Callable[[str, str, Any], dict[str, Any]]
    """method, path and body of a request as the tenant's admin; its answer"""
    params: dict[str, str] = field(default_factory=dict)
    owner: User | None = None

    @property
    def secrets(self) -> set[str]:
        """Everything that another tenant must never see."""
        return {self.marker, self.organization_id, self.scope.namespace_id, *self.params.values()}

    def text(self) -> str:
        """A fresh text that tells whose it is."""
        return f"{self.marker}-{next(_numbers)}"

    def make(self, parameter: str) -> str:
        """A new resource that this path parameter can name. Raises KeyError, which says what is missing here."""
        return _FACTORIES[parameter](self)


def furnish(estate: Estate, parameters: list[str]) -> None:
    """Give the estate one of each."""
    for parameter in sorted(parameters, key=list(_FACTORIES).index):
        estate.params[parameter] = estate.make(parameter)


def webhook_body(marker: str) -> dict[str, Any]:
    """A webhook with the marker wherever it fits."""
    url = f"https://example.com/{marker}"
    configs = {"url": url, "headers": {"X-Marker": marker}, "signing_secret": f"secret-{marker}"}
    return {**WEBHOOK, "webhook_name": marker, "channels": [{"channel": "webhook", "configs": configs}]}


def retriever_body(marker: str) -> dict[str, Any]:
    """A retriever of its own name, over all collections."""
    inputs = {"query": {"type": "string", "required": True}}
    return {
        "retriever_name": marker, "description": marker, "metadata": {"marker": marker}, "tags": [marker],
        "stages": [SEARCH_STAGE], "input_schema": inputs,
    }  # fmt: skip


def _user(estate: Estate) -> str:
    email, name = f"{estate.text()}@example.com", estate.text()
    made = estate.services.users.create(
        estate.scope, email, name, Role.ADMIN, avatar_url=f"https://example.com/{name}", metadata={"marker": name}
    )
    estate.owner = estate.owner or made
    return email


def _key(estate: Estate) -> str:
    """A key of the estate's user that can do no more than be managed: any manager may manage it."""
    assert estate.owner is not None
    name = estate.text()
    scopes = (Scope(ResourceType.API_KEY, name),)
    estate.services.keys.issue(estate.scope, estate.owner, name, KeyGrant((Permission.READ,), scopes))
    return name


def _namespace(estate: Estate) -> str:
    made = estate.services.namespaces.create(estate.scope, estate.text(), estate.text(), environment=Environment.DEV)
    return made.namespace_id


def _bucket(estate: Estate) -> str:
    text = estate.text()
    schema = {"properties": {"content": {"type": "text", "description": text}}}
    body = {"bucket_name": text, "description": text, "metadata": {"marker": text}, "bucket_schema": schema}
    return str(estate.call("POST", "/v1/buckets", body)["bucket_id"])


def _object(estate: Estate) -> str:
    blob = {"property": "content", "type": "text", "data": estate.text(), "metadata": {"marker": estate.text()}}
    body = {"blobs": [blob], "key_prefix": estate.text(), "author": estate.text()}
    return str(estate.call("POST", f"/v1/buckets/{estate.params['bucket_id']}/objects", body)["object_id"])


def _collection(estate: Estate) -> str:
    text = estate.text()
    more = {"collection_name": text, "description": text, "metadata": {"marker": text}}
    body = {**collection_body(estate.params["bucket_id"]), **more}
    return str(estate.call("POST", "/v1/collections", body)["collection_id"])


def _document(estate: Estate) -> str:
    document_id = random_id(Prefix.DOCUMENT)
    estate.services.handles.namespace(estate.scope)["documents"].insert_one(
        {
            "_id": document_id, "collection_id": estate.params["collection_id"],
            "source_object_id": estate.params["object_id"], "chunk_index": 0,
            "payload": {"text": estate.text()}, "created_at": now(),
        }
    )  # fmt: skip
    return document_id


def _batch(estate: Estate) -> str:
    text = estate.text()
    body = {"object_ids": [estate.params["object_id"]], "batch_name": text, "metadata": {"marker": text}}
    return str(estate.call("POST", f"/v1/buckets/{estate.params['bucket_id']}/batches", body)["batch_id"])


def _retriever(estate: Estate) -> str:
    return str(estate.call("POST", "/v1/retrievers", retriever_body(estate.text()))["retriever_id"])


def _task(estate: Estate) -> str:
    body = {"inputs": {"query": estate.text()}}
    return str(estate.call("POST", f"/v1/retrievers/{estate.params['retriever_id']}/execute", body)["task_id"])


def _execution(estate: Estate) -> str:
    """An execution that has ended, with a result."""
    services, job_id = estate.services, _task(estate)
    lease = claimed(services.queue, job_id, "test")
    assert lease is not None
    facts = {"input_count": 1, "output_count": 1, "duration_ms": 1.0, "efficiency": 1.0}
    statistics = {"stages": {estate.text(): facts}, "total_time_ms": 1.0}
    result = {"documents": [{"text": estate.text()}], "stage_statistics": statistics, "credits_used": 0.01}
    services.executions.save(estate.scope, job_id, result)
    decision = Decision(JobState.SUCCEEDED, charge=1, result={"execution_doc": job_id})
    lease.decide(decision)
    lease.finish(decision, ())
    return execution_id_of(job_id)


def _webhook(estate: Estate) -> str:
    return str(estate.call("POST", "/v1/organizations/webhooks", webhook_body(estate.text()))["webhook_id"])


def _delivery(estate: Estate) -> str:
    """A delivery that has failed, with an attempt whose answer was kept."""
    services, scope, hook = estate.services, estate.scope, estate.params["webhook_id"]
    subject = Subject("retriever", estate.params["retriever_id"])
    event = Event(
        random_id(Prefix.EVENT), EventType.RESOURCE_EXECUTED, now(), scope.namespace_id, subject, {"m": estate.text()}
    )
    relay_events(services.handles, scope, [event], services.redis, services.clock)
    found = next(one for one in services.webhooks.list_deliveries(scope, hook) if one.event_id == event.event_id)
    organization = services.handles.organization(scope)
    failed = {"$set": {"status": "failed", "attempts": 1, "last_error": "http_500"}, "$unset": {"due_at": ""}}
    organization["deliveries"].update_one({"_id": found.delivery_id}, failed)
    organization["attempts"].insert_one(
        {
            "_id": random_id(Prefix.ATTEMPT), "namespace_id": scope.namespace_id, "delivery_id": found.delivery_id,
            "number": 1, "result": AttemptResult.REFUSED.value, "status_code": 500, "ms": 1.0, "started_at": now(),
            "response_headers": {"X-Marker": estate.text()}, "response_body": estate.text(),
        }
    )  # fmt: skip
    return found.delivery_id


def _audit(estate: Estate) -> str:
    logged = estate.services.handles.organization(estate.scope)["audit"]
    found = logged.find_one({"action": AuditAction.WEBHOOK_CREATED.value})
    assert found is not None
    return str(found["_id"])


def _secret(estate: Estate) -> str:
    body = {"secret_name": estate.text().replace("-", "_"), "secret_value": f"value {estate.text()}"}
    return str(estate.call("POST", "/v1/organizations/secrets", body)["secret_name"])


_FACTORIES: dict[str, Callable[[Estate], str]] = {
    "user_email": _user,
    "key_name": _key,
    "namespace_id": _namespace,
    "bucket_id": _bucket,
    "object_id": _object,
    "collection_id": _collection,
    "document_id": _document,
    "batch_id": _batch,
    "retriever_id": _retriever,
    "task_id": _task,
    "execution_id": _execution,
    "webhook_id": _webhook,
    "delivery_id": _delivery,
    "audit_id": _audit,
    "secret_name": _secret,
}
"""A maker for each path parameter; each may use what those before it made."""


def new_marker() -> str:
    """A text that occurs nowhere else."""
    return f"mk{secrets.token_hex(8)}"
