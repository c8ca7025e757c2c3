"""`python -m benchmarks.database_memory`: where the embedded database's memory ends, by the records that jobs leave.

It writes them in groups, as no job does, so that 50,000 jobs take minutes: memory goes by what is kept, not by how.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from core.credits.entry import EntryKind
from core.ids import Prefix, random_id
from core.storage.mongo import Document, connect
from core.storage.schema import create_schema
from tests.servers import mongo_server

_GROUP = 500
_EVERY = 10_000
_RESULT_BYTES = 2_000
"""What an execution's answer or a batch's record has, as in the soak."""


def main(jobs: int) -> None:
    """Write, and print the server's memory after every 10,000 jobs."""
    with tempfile.TemporaryDirectory(prefix="ks-memory-") as directory, mongo_server(Path(directory)) as server:
        process = psutil.Process(server.process.pid)
        database = connect(server.url)
        create_schema(database)
        for first in range(0, jobs, _GROUP):
            records = list(_records(range(first, first + _GROUP)))
            for name in ("jobs", "ledger", "executions", "deliveries"):
                database[name].insert_many([record for kind, record in records if kind == name])
            ids = [record["_id"] for kind, record in records if kind == "jobs"]
            for state in ("running", "finishing", "succeeded"):
                database["jobs"].update_many({"_id": {"$in": ids}}, {"$set": {"state": state}, "$inc": {"fence": 1}})
            if not (first + _GROUP) % _EVERY:
                memory = process.memory_full_info().uss / 2**20
                print(f"{first + _GROUP:>7} jobs: {memory:.0f} MB", flush=True)


def _records(numbers: Sequence[int]) -> Iterator[tuple[str, Document]]:
    """What each job leaves: itself, a hold and its capture, a result, a delivery."""
    for number in numbers:
        at = datetime.now(UTC) + timedelta(milliseconds=number)
        ids: dict[str, Any] = {"internal_id": "int_memory", "namespace_id": "ns_memory", "created_at": at, "at": at}
        task = random_id(Prefix.TASK)
        yield "jobs", {"_id": task, **ids, "state": "queued", "fence": 0, "due_at": at, "spec": "x" * 600}
        for step, kind in enumerate((EntryKind.HOLD, EntryKind.CAPTURE)):
            operation = {"op_id": f"{kind}:{task}", "hold_id": task, "kind": kind.value, "terminal": step == 1}
            yield "ledger", {"_id": random_id(Prefix.AUDIT), **ids, "seq": 2 * number + step, **operation}
        yield "executions", {"_id": random_id(Prefix.EXECUTION), **ids, "documents": "x" * _RESULT_BYTES}
        delivery = {"webhook_id": "wh_memory", "status": "delivered", "event_id": random_id(Prefix.EVENT)}
        yield "deliveries", {"_id": random_id(Prefix.DELIVERY), **ids, **delivery, "body": "x" * 500}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=50_000)
    main(parser.parse_args().jobs)
