"""Creates one of each kind with release 1.3.1 of the official client, and says what the client gave back.

It runs as a program of its own, because a process has room for one release. It checks nothing: the test does.
"""

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

SCHEMA = {"properties": {"text": {"type": "text"}}}
BLOB = {"property": "text", "type": "text", "data": "Ships carry cranes."}
STAGE = {
    "stage_name": "search",
    "stage_type": "filter",
    "config": {
        "stage_id": "feature_search",
        "parameters": {
            "searches": [
                {
                    "feature_uri": "mixpeek://text_extractor@v1/text_embedding",
                    "query": {"input_mode": "text", "value": "{{INPUT.query}}"},
                }
            ]
        },
    },
}
EXTRACTOR = {"feature_extractor_name": "text_extractor", "version": "v1"}
CHANNEL = {"channel": "webhook", "configs": {"url": "https://example.com/hook"}}
EMAIL = "old@example.com"


def created(package: Any, client: Any) -> dict[str, Any]:
    """What the client makes of the answer to each create: None when it drops the body."""

    def api(name: str) -> Any:
        return getattr(package, name)(client)

    def model(name: str, /, **fields: Any) -> Any:
        return getattr(package, name).from_dict(fields)

    shown: dict[str, Any] = {}
    shown["users.create"] = api("OrganizationUsersApi").create_user_organizations(
        model("UserCreateRequest", email=EMAIL, user_name="Old", role="member")
    )
    keys = api("OrganizationAPIKeysApi")
    wanted = model("APIKeyCreateRequest", name="ci", permissions=["read"])
    shown["api_keys.create"] = keys.create_key_organizations_users_email(EMAIL, wanted)
    shown["api_keys.rotate"] = keys.rotate_key_organizations_users_email_name(EMAIL, "ci")
    wanted = model("CreateNamespaceRequest", namespace_name="second", feature_extractors=[EXTRACTOR])
    shown["namespaces.create"] = api("NamespacesApi").create_namespace(wanted)
    wanted = model("BucketCreateRequest", bucket_name="notes", bucket_schema=SCHEMA)
    shown["buckets.create"] = api("BucketsApi").create_bucket(wanted)
    bucket_id = str(api("BucketsApi").get_bucket("notes").bucket_id)
    objects = api("BucketObjectsApi")
    shown["objects.create"] = objects.create_object_buckets(bucket_id, model("CreateObjectRequest", blobs=[BLOB]))
    several = model("CreateObjectsBatchRequest", objects=[{"blobs": [BLOB]}])
    shown["objects.create_batch"] = objects.create_objects_batch_buckets(bucket_id, several)
    shown["collections.create"] = api("CollectionsApi").create_collection(
        model(
            "CreateCollectionRequest",
            collection_name="chunks",
            source={"type": "bucket", "bucket_ids": [bucket_id]},
            feature_extractor=EXTRACTOR,
        )
    )
    object_id = objects.list_objects_buckets(bucket_id).results[0].object_id
    wanted = model("CreateBatchRequest", object_ids=[object_id])
    shown["batches.create"] = api("BucketBatchesApi").create_batch_buckets_batches(bucket_id, wanted)
    shown["retrievers.create"] = api("RetrieversApi").create_retriever(
        model(
            "CreateRetrieverRequest",
            retriever_name="answers",
            collection_identifiers=["chunks"],
            stages=[STAGE],
            input_schema={"query": {"type": "string"}},
        )
    )
    wanted = model("CreateSecretRequest", secret_name="old_secret", secret_value="a long value")
    shown["secrets.create"] = api("OrganizationSecretsApi").create_secret_organizations(wanted)
    body = model("WebhookInput", webhook_name="done", event_types=["collection.documents.written"], channels=[CHANNEL])
    shown["webhooks.create"] = api("WebhooksApi").create_webhook_organizations(body)
    return shown


def known_answers(package: Any) -> Iterator[tuple[str, str, list[int]]]:
    """Method, path and the successful statuses that the client knows, of each of its calls."""
    for name in package.__all__:
        if name.endswith("Api"):
            methods = dict(inspect.getmembers(getattr(package, name), inspect.isfunction))
            for inner, function in methods.items():
                if inner.endswith("_serialize"):
                    source = inspect.getsource(function)
                    called = inspect.getsource(methods[inner.strip("_").removesuffix("_serialize")])
                    yield (
                        re.findall(r"method='(\w+)'", source)[0],
                        re.findall(r"resource_path='([^']+)'", source)[0],
                        _successful(textwrap.dedent(called)),
                    )


def _successful(source: str) -> list[int]:
    """The statuses of the response map in a method's text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_response_types_map" and node.value:
            return sorted(int(status) for status in ast.literal_eval(node.value) if status.startswith("2"))
    return []


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, dict) else value.to_dict()


def main(url: str, key: str, namespace: str) -> None:
    """Print it all as one JSON object."""
    import mixpeek

    client = mixpeek.ApiClient(mixpeek.Configuration(host=url))
    client.set_default_header("Authorization", f"Bearer {key}")
    client.set_default_header("X-Namespace", namespace)
    shown = {name: _plain(value) for name, value in created(mixpeek, client).items()}
    answers = list(known_answers(mixpeek))
    print(json.dumps({"version": mixpeek.__version__, "created": shown, "answers": answers}, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
