"""Which backends that is done while a caller waits needs, MongoDB apart, which everything needs. Pure.

Sealing a value needs the key service, unless the data key is in memory: `core/vault/kek_watched.py` stands before it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.backends.backend import Backend
from core.buckets.bucket import NewObject
from core.retrievers.secret_places import secret_names

_SEARCH_OF: Final[Mapping[str, str | None]] = {"feature_search": None, "query_expand": "feature_search_config"}
"""Stages that search, and where in their parameters the search stands; None is all of them."""


def of_execution(stages: Sequence[Mapping[str, Any]]) -> frozenset[Backend]:
    """What executing these stored stages needs. Whichever comes first, its documents come from the vectors."""
    needed = {Backend.RAY, Backend.VECTORS}
    if any(_embeds_in(stage["config"]["stage_id"], stage["config"]["parameters"]) for stage in stages):
        needed.add(Backend.EMBEDDER)
    return frozenset(needed | {Backend.KEY_SERVICE} if secret_names(stages) else needed)


def of_upload(objects: Sequence[NewObject]) -> frozenset[Backend]:
    """What storing these objects needs."""
    return frozenset({Backend.BLOBS}) if any(new.blobs for new in objects) else frozenset()


def _embeds_in(stage_id: str, parameters: Mapping[str, Any]) -> bool:
    if stage_id not in _SEARCH_OF:
        return False
    place = _SEARCH_OF[stage_id]
    search = parameters.get(place, {}) if place else parameters
    return any(map(_embeds, search.get("searches", ())))


def _embeds(search: Mapping[str, Any]) -> bool:
    """Whether a search turns a text into a vector: one by words does not, and one by a vector has it."""
    query = search.get("query")
    given = isinstance(query, Mapping) and query.get("input_mode") == "vector"
    return not search.get("lexical") and not given
