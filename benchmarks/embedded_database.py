"""What two habits cost on the embedded database: naming a query's index, and retryable writes. See decision 10.

Timings differ between machines and moments: the ratios, of the same run, are the figures to compare.
"""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.timing import median_ms
from core.storage.mongo import connect
from tests.servers import mongo_server

_TENANTS = 1_000
_ENTRIES_EACH = 20
_WRITES = 10_000
"""So many retryable writes the server remembers."""
_LOOKS = 20


def measure() -> dict[str, float]:
    """Figures by name: milliseconds at the median, and ratios."""
    with tempfile.TemporaryDirectory(prefix="ks-bench-") as directory, mongo_server(Path(directory)) as server:
        return {**_named_index(server.url), **_retryable_writes(server.url)}


def _named_index(url: str) -> dict[str, float]:
    """A page of one tenant's entries among those of all, with the index named and without."""
    entries, now = connect(url)["entries"], datetime.now(UTC)
    name = entries.create_index([("tenant", 1), ("at", -1)])
    for number in range(_ENTRIES_EACH):
        at = now - timedelta(hours=number)
        entries.insert_many([{"tenant": tenant, "at": at} for tenant in range(_TENANTS)])
    query: dict[str, Any] = {"tenant": 7, "at": {"$gt": now - timedelta(days=1)}}
    assert len(list(entries.find(query).hint(name))) == len(list(entries.find(query))) == _ENTRIES_EACH
    named = median_ms(lambda: list(entries.find(query).hint(name)), _LOOKS)
    plain = median_ms(lambda: list(entries.find(query)), _LOOKS)
    return {"page_ms_index_named": named, "page_ms": plain, "index_named_per_plain": named / plain}


def _retryable_writes(url: str) -> dict[str, float]:
    """An update by id while the server remembers as many retryable writes as it will, as either kind."""
    once = connect(url)
    retryable = connect(url.replace("retryWrites=false", "retryWrites=true"))
    assert retryable.client.options.retry_writes
    once["counters"].insert_one({"_id": 1, "n": 0})
    for _ in range(_WRITES):
        retryable["counters"].update_one({"_id": 1}, {"$inc": {"n": 1}})
    as_retryable = median_ms(lambda: retryable["counters"].update_one({"_id": 1}, {"$inc": {"n": 1}}), _LOOKS)
    plain = median_ms(lambda: once["counters"].update_one({"_id": 1}, {"$inc": {"n": 1}}), _LOOKS)
    return {"write_ms_retryable": as_retryable, "write_ms": plain, "retryable_per_plain": as_retryable / plain}
