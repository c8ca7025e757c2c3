"""Records of one tenant that requests can name, and how schemathesis is told of them."""

import json
from collections.abc import Mapping

from core.clock import now
from core.ids import Prefix, random_id
from core.webhooks.event import Event, EventType, Subject
from core.webhooks.relay import relay_events
from tests.integration.bodies import WEBHOOK, corpus, retriever_body
from tests.integration.conftest import Tenant

_PROBABILITY = 0.9
"""How often a parameter gets the value that exists; otherwise it gets whatever its schema allows."""


def known_records(tenant: Tenant) -> dict[str, str]:
    """Values for parameters and body fields."""
    return {
        "header.X-Namespace": tenant.scope.namespace_id,
        "path.namespace_id": tenant.scope.namespace_id,
        **_ingested(tenant),
        **_searched(tenant),
        **_told(tenant),
        **_peopled(tenant),
        "path.file": "swagger-ui.css",
        "body.source.type": "bucket",
        "body.feature_extractor.feature_extractor_name": "text_extractor",
        "body.feature_extractor.version": "v1",
        "body.channels[*].configs.url": "https://example.com/hook",
    }


def doomed_records(tenant: Tenant, known: Mapping[str, str]) -> dict[str, str]:
    """What a DELETE names instead of a known record: another of its kind, which no other request needs."""
    users = "/v1/organizations/users"
    tenant.created(users, {"email": "doomed@example.com", "user_name": "Doomed"})
    tenant.created(f"{users}/{known['path.user_email']}/api-keys", {"name": "doomed"})
    tenant.created("/v1/organizations/secrets", {"secret_name": "doomed_secret", "secret_value": "a doomed value"})
    blob = {"property": "content", "type": "text", "data": "Not for long."}
    doomed_object = tenant.created(f"/v1/buckets/{known['path.bucket_id']}/objects", {"blobs": [blob]})
    doomed_webhook = tenant.created("/v1/organizations/webhooks", {**WEBHOOK, "webhook_name": "doomed"})
    return {
        known["path.namespace_id"]: tenant.created("/v1/namespaces", {"namespace_name": "doomed"})["namespace_id"],
        known["path.object_id"]: doomed_object["object_id"],
        known["path.webhook_id"]: doomed_webhook["webhook_id"],
        known["path.user_email"]: "doomed@example.com",
        known["path.key_name"]: "doomed",
        known["path.secret_name"]: "doomed_secret",
    }


def configuration(known: Mapping[str, str]) -> str:
    """The known records as a part of schemathesis's configuration."""
    names = {parameter: f"value_{number}" for number, parameter in enumerate(known)}
    values = [f"{names[parameter]} = {{ values = [{json.dumps(value)}] }}" for parameter, value in known.items()]
    bound = [
        f'"{parameter}" = {{ dictionary = "{name}", probability = {_PROBABILITY} }}'
        for parameter, name in names.items()
    ]
    return "\n".join(["", "[dictionaries]", *values, "", "[parameters]", *bound, ""])


def _ingested(tenant: Tenant) -> dict[str, str]:
    made = corpus(tenant)
    batches = f"/v1/buckets/{made['bucket_id']}/batches"
    batch_id = tenant.created(batches, {"object_ids": [made["object_id"]]})["batch_id"]
    task_id = tenant.created(f"{batches}/{batch_id}/submit", None)["task_id"]
    document_id = random_id(Prefix.DOCUMENT)
    document = {"document_id": document_id, "source_object_id": made["object_id"], "chunk_index": 0, "text": "…"}
    tenant.services.collections.replace_documents(
        tenant.scope, made["collection_id"], {made["object_id"]: 1}, [document]
    )
    return {
        "path.bucket_id": made["bucket_id"],
        "path.object_id": made["object_id"],
        "path.collection_id": made["collection_id"],
        "path.document_id": document_id,
        "path.batch_id": batch_id,
        "path.task_id": task_id,
        "body.object_ids[*]": made["object_id"],
        "body.collection_ids[*]": made["collection_id"],
        "body.collection_identifiers[*]": made["collection_id"],
        "body.source.bucket_ids[*]": made["bucket_id"],
        "body.source.bucket_id": made["bucket_id"],
    }


def _searched(tenant: Tenant) -> dict[str, str]:
    retriever_id = tenant.created("/v1/retrievers", retriever_body())["retriever_id"]
    task = tenant.post(f"/v1/retrievers/{retriever_id}/execute", {"inputs": {"query": "?"}}).get_json()
    return {
        "path.retriever_id": retriever_id,
        "path.execution_id": task["additional_data"]["execution_id"],
        "body.inputs.query": "?",
    }


def _told(tenant: Tenant) -> dict[str, str]:
    webhook_id = tenant.created("/v1/organizations/webhooks", WEBHOOK)["webhook_id"]
    services, namespace_id = tenant.services, tenant.scope.namespace_id
    subject = Subject("retriever", "ret_1")
    event = Event(random_id(Prefix.EVENT), EventType.RESOURCE_EXECUTED, now(), namespace_id, subject, {})
    relay_events(services.handles, tenant.scope, [event], services.redis, services.clock)
    [delivery] = services.webhooks.list_deliveries(tenant.scope, webhook_id)
    return {"path.webhook_id": webhook_id, "path.delivery_id": delivery.delivery_id}


def _peopled(tenant: Tenant) -> dict[str, str]:
    """A user with a key, who may be lost, and an event of the audit log."""
    users = "/v1/organizations/users"
    tenant.created(users, {"email": "spare@example.com", "user_name": "Spare", "role": "admin"})
    tenant.created(f"{users}/spare@example.com/api-keys", {"name": "spare"})
    [event, *_] = tenant.get("/v1/organizations/audit/logs").get_json()["results"]
    return {
        "path.user_email": "spare@example.com",
        "path.key_name": "spare",
        "path.secret_name": _secret(tenant),
        "path.audit_id": event["audit_id"],
    }


def _secret(tenant: Tenant) -> str:
    made = tenant.created("/v1/organizations/secrets", {"secret_name": "spare_secret", "secret_value": "a spare value"})
    return str(made["secret_name"])
