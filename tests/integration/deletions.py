"""What tests of namespace deletion share: rows in every collection, and a count of what is left anywhere."""

from collections.abc import Mapping

from core.bootstrap import Services
from core.jobs.job import JobKind
from core.storage.handles import Handles
from core.storage.schema import NAMESPACED
from core.storage.scope import NamespaceScope
from core.tenancy.namespace_contents import BLOBS


def left_in(services: Services, scope: NamespaceScope) -> dict[str, int]:
    """How much of a namespace there is, by collection of the schema, and blobs; records of deletions apart."""
    raw = services.database
    mine = {"internal_id": scope.internal_id, "namespace_id": scope.namespace_id}
    left = {name: raw[name].count_documents(mine) for name in NAMESPACED}
    left["jobs"] -= raw["jobs"].count_documents({**mine, "kind": JobKind.NAMESPACE_DELETION.value})
    return {**left, BLOBS: len(list(services.blobs.list_keys(f"{scope.namespace_id}/")))}


def fill(handles: Handles, scope: NamespaceScope, rows: Mapping[str, int]) -> None:
    """Rows in collections, as many as `rows` says."""
    data = handles.namespace(scope)
    for name, count in rows.items():
        data[name].insert_many(
            {
                "_id": f"{scope.namespace_id}-{name}-{number}",
                "bucket_name": str(number),
                "collection_name": str(number),
                "retriever_name": str(number),
                "delivery_id": f"{scope.namespace_id}-{number}",
                "number": number,
            }
            for number in range(count)
        )
