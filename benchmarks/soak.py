"""`make soak MINUTES=n`: works a private stack for so long and prints what each process grew by for one job.

Searches, asynchronous executions and small batches with a webhook each; NAMESPACES=n spreads the work over so many.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.growth import STORES, Grown, Watch
from cli.demo.client import Client
from cli.demo.private_stack import private_stack
from cli.demo.receiver import Receiver

_SEARCHERS = 3
_ASYNCHRONOUS_EVERY = 4
_SAMPLE_SECONDS = 5.0
_WARM_UP_SHARE = 0.4
"""Of the work, before growth counts: pools fill, allocators settle, each actor has seen each kind of job."""
_TASK_SECONDS = 120.0
_MOST_KB_PER_JOB = 0.2
_FLAT = 8
"""Open files or threads that may come and go."""


@dataclass
class Place:
    """One namespace and what is in it."""

    namespace_id: str
    bucket_id: str = ""
    retriever_id: str = ""


@dataclass
class Done:
    """What the workers of the soak count."""

    jobs: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str) -> None:
        """One job of this kind ended well."""
        with self.lock:
            self.jobs += 1
            self.kinds[kind] += 1

    def fail(self, what: str) -> None:
        """One did not."""
        with self.lock:
            self.errors.append(what)


def soak(minutes: float, namespaces: int) -> int:
    """Work, watch, print. The exit code is 1 when something failed or a process grew with the work."""
    with tempfile.TemporaryDirectory(prefix="ks-soak-") as directory, Receiver() as receiver:
        data = Path(directory) / "data"
        with private_stack(data) as ready:
            organization = _organization(data)
            watch, done = Watch(data), Done()
            with _clients(ready["api_url"], organization, namespaces, receiver) as places:
                _work(ready["api_url"], organization["api_key"], places, minutes * 60, watch, done)
    print(
        f"jobs {done.jobs}: {dict(done.kinds)}, errors {len(done.errors)}, webhooks received {len(receiver.received)}"
    )
    for error in done.errors[:5]:
        print(f"  {error}")
    grew = [each for each in _print_table(watch, int(done.jobs * _WARM_UP_SHARE)) if each.name not in STORES]
    return 1 if grew or done.errors else 0


def _organization(data: Path) -> dict[str, Any]:
    command = ["org", "create", "--name", "Soak", "--email", "s@example.com", "--plan", "enterprise"]
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", *command, "--credits", "100000000"],
        env={**os.environ, "KEYSTAGE_DATA": str(data)},
        capture_output=True,
        check=True,
    )
    created: dict[str, Any] = json.loads(ran.stdout)
    return created


@contextmanager
def _clients(api_url: str, organization: dict[str, Any], count: int, receiver: Receiver) -> Iterator[list[Place]]:
    """Namespaces with a bucket, a collection and a retriever each; a webhook that listens to all of them."""
    key = organization["api_key"]
    with Client(api_url, key, organization["namespace_id"], patience_seconds=30) as client:
        channels = [{"channel": "webhook", "configs": {"url": receiver.url}}]
        types = ["collection.documents.batch_completed"]
        client.post("/v1/organizations/webhooks", {"webhook_name": "soak", "event_types": types, "channels": channels})
        made = [client.post("/v1/namespaces", {"namespace_name": f"soak{number}"}) for number in range(1, count)]
    places = [Place(organization["namespace_id"]), *(Place(each["namespace_id"]) for each in made)]
    started = time.monotonic()
    with ThreadPoolExecutor(_SEARCHERS) as pool:
        list(pool.map(lambda place: _furnish(api_url, key, place), places))
    print(f"{len(places)} namespaces with documents after {time.monotonic() - started:.0f} s", flush=True)
    yield places


def _furnish(api_url: str, key: str, place: Place) -> None:
    with Client(api_url, key, place.namespace_id, patience_seconds=30) as client:
        bucket = client.post("/v1/buckets", {"bucket_name": "notes", "bucket_schema": {"properties": {}}})
        place.bucket_id = bucket["bucket_id"]
        extractor = {"feature_extractor_name": "text_extractor", "version": "v1"}
        source = {"type": "bucket", "bucket_ids": [place.bucket_id]}
        collection = client.post(
            "/v1/collections", {"collection_name": "notes", "source": source, "feature_extractor": extractor}
        )
        search = {
            "feature_uri": "mixpeek://text_extractor@v1/text_embedding",
            "query": {"input_mode": "text", "value": "{{INPUT.query}}"},
        }
        retriever = {
            "retriever_name": "search",
            "collection_identifiers": [collection["collection_id"]],
            "input_schema": {"query": {"type": "string"}},
            "stages": [{"stage_type": "filter", "stage_id": "feature_search", "parameters": {"searches": [search]}}],
        }
        place.retriever_id = client.post("/v1/retrievers", retriever)["retriever_id"]
        _batch(client, place, 0)


def _batch(client: Client, place: Place, number: int) -> None:
    """Two new objects, ingested; a few hundred documents a namespace at most, for their ids repeat."""
    blobs = [{"property": "text", "type": "text", "data": f"Note {number} says that bread is baked."}]
    path = f"/v1/buckets/{place.bucket_id}"
    stored = client.post(f"{path}/objects", {"blobs": blobs})
    batch = client.post(f"{path}/batches", {"object_ids": [stored["object_id"]]})
    task = client.post(f"{path}/batches/{batch['batch_id']}/submit")
    ended = client.ended_task(task["task_id"], _TASK_SECONDS)
    if ended["status"] != "COMPLETED":
        raise RuntimeError(f"batch {ended['status']}: {ended.get('error')}")


def _search(client: Client, place: Place, number: int) -> None:
    path, body = f"/v1/retrievers/{place.retriever_id}/execute", {"inputs": {"query": f"bread {number}"}}
    if number % _ASYNCHRONOUS_EVERY:
        if not client.post(path, body)["documents"]:
            raise RuntimeError("a search found nothing")
        return
    ended = client.ended_task(client.post(path, body, prefer="respond-async")["task_id"], _TASK_SECONDS)
    if ended["status"] != "COMPLETED":
        raise RuntimeError(f"execution {ended['status']}: {ended.get('error')}")


def _work(api_url: str, key: str, places: list[Place], seconds: float, watch: Watch, done: Done) -> None:
    """Searchers and one ingester until the time is over, looked at every few seconds."""
    ends = time.monotonic() + seconds
    kinds = [("search", _search)] * _SEARCHERS + [("batch", _batch)]

    def run(kind: str, job: Any, turn: int) -> None:
        turns = itertools.count(turn)
        while time.monotonic() < ends:
            number = next(turns)
            place = places[number * 7919 % len(places)]
            with Client(api_url, key, place.namespace_id, patience_seconds=30) as client:
                try:
                    job(client, place, number)
                    done.add(kind)
                except Exception as error:
                    done.fail(f"{kind}: {type(error).__name__}: {error}")

    with ThreadPoolExecutor(len(kinds)) as pool:
        running = [pool.submit(run, kind, job, turn * 1_000_003) for turn, (kind, job) in enumerate(kinds)]
        while time.monotonic() < ends:
            time.sleep(_SAMPLE_SECONDS)
            watch.look(done.jobs)
        for each in running:
            each.result()


def _print_table(watch: Watch, from_jobs: int) -> list[Grown]:
    """Print a line for each process; those that grew with the work."""
    print(f"after {from_jobs} jobs of warm-up, median of the first fifth → of the last:")
    print(f"{'process':<22}{'KB a job':>9}  {'MB':>15}  {'open files':>12}  {'threads':>12}")
    grew = []
    for each in watch.grown(from_jobs):
        memory, files, threads = (
            each.from_to(measure) for measure in (lambda s: s.memory_kb / 1024, lambda s: s.files, lambda s: s.threads)
        )
        rose = files[1] - files[0] > _FLAT or threads[1] - threads[0] > _FLAT
        over = each.kb_per_job >= _MOST_KB_PER_JOB or rose
        grew += [each] if over else []
        mark = "  (store)" if each.name in STORES else "  GROWS" if over else ""
        spans = (f"{a:.0f} → {b:.0f}" for a, b in (files, threads))
        columns = f"{memory[0]:.1f} → {memory[1]:.1f}", *spans
        print(f"{each.name:<22}{each.kb_per_job:>9.3f}  {columns[0]:>15}  {columns[1]:>12}  {columns[2]:>12}{mark}")
    return grew


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--namespaces", type=int, default=10)
    given = parser.parse_args()
    sys.exit(soak(given.minutes, given.namespaces))
