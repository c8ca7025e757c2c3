"""One customer's searches beside another's long document: how long each takes alone, and how long beside it."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cli.demo.client import Client
from tests.e2e.customer import Customer
from tests.stack import wait_until

_CALLERS = 4
_OTHER_BATCHES = 5
"""Further ones, each with a document a third as long: more than the worker has slots for batches."""
_PIECE = "Of bread and of tides there is more to say than one believes, and so this goes on. " * 11
"""Close to what one document of a collection holds, so that each becomes one."""
_OUTER_SECONDS = 600.0


@dataclass(frozen=True)
class Searches:
    """Some searches: when the last ended, on the monotonic clock, and the seconds of each."""

    ended_at: float
    seconds: Sequence[float]

    @property
    def p50(self) -> float:
        """Half of them were quicker."""
        return round(statistics.median(self.seconds), 3)

    @property
    def p95(self) -> float:
        """All but the slowest twentieth were quicker."""
        return round(statistics.quantiles(self.seconds, n=20, method="inclusive")[-1], 3)


@dataclass(frozen=True)
class Beside:
    """What was seen."""

    alone: Searches
    beside: Searches
    document_began_at: float
    document_ended_at: float
    status: str
    """of the long document's task"""

    @property
    def document_seconds(self) -> float:
        """From its submission to its end."""
        return self.document_ended_at - self.document_began_at

    def __str__(self) -> str:
        ended = self.document_ended_at - self.beside.ended_at
        return (
            f"{len(self.alone.seconds)} searches alone: p50 {self.alone.p50} s, p95 {self.alone.p95} s; "
            f"beside a document of {self.document_seconds:.0f} s: p50 {self.beside.p50} s, p95 {self.beside.p95} s "
            f"({self.beside.p95 / self.alone.p95:.1f} times); the last ended {ended:.0f} s before the document"
        )


def search_beside_a_long_document(
    long: Customer, searching: Customer, searches: int, pieces: Callable[[Searches], int]
) -> Beside:
    """Search alone, then beside long documents of one batch each; `pieces` says how many each has, from what was seen
    alone."""
    with searching.client() as client:
        _until_ended(client, searching.submit(client, searching.store(client, ["Bread is baked.", "Tides rise."])))
    _searched(searching, _CALLERS * 2)
    alone = _searched(searching, searches)
    length = pieces(alone)
    texts = [_long_text(0, length), *(_long_text(number + 1, length // 3) for number in range(_OTHER_BATCHES))]
    with long.client(patience_seconds=60) as client:
        stored = long.store(client, texts)
        began_at = time.monotonic()
        task, *others = [long.submit(client, [each]) for each in stored]
        wait_until(lambda: client.get(f"/v1/tasks/{task}")["status"] == "PROCESSING", 60, "the document to be begun")
        end = _End(long, task)
        beside = _searched(searching, searches)
        status, ended_at = end.wait()
        for other in others:
            _until_ended(client, other)
    return Beside(alone, beside, began_at, ended_at, status)


class _End:
    """Looks for a task's end while others work."""

    def __init__(self, customer: Customer, task: str) -> None:
        self._customer, self._task = customer, task
        self._seen: tuple[str, float] = "", 0.0
        self._thread = threading.Thread(target=self._look, name="the document's end", daemon=True)
        self._thread.start()

    def wait(self) -> tuple[str, float]:
        """The last status, and when it was seen first."""
        self._thread.join(_OUTER_SECONDS)
        return self._seen

    def _look(self) -> None:
        with self._customer.client(patience_seconds=60) as client:
            status = _until_ended(client, self._task)
            self._seen = status, time.monotonic()


def _until_ended(client: Client, task: str) -> str:
    return str(client.ended_task(task, _OUTER_SECONDS)["status"])


def _long_text(number: int, pieces: int) -> str:
    return "".join(f"Piece {number}.{piece}: {_PIECE[:900]}.\n" for piece in range(pieces))


def _searched(customer: Customer, count: int) -> Searches:
    path = f"/v1/retrievers/{customer.retriever_id}/execute"

    def search(number: int) -> float:
        started = time.monotonic()
        client.post(path, {"inputs": {"query": f"What is there to say of {number}?"}, "limit": 3})
        return time.monotonic() - started

    with customer.client() as client, ThreadPoolExecutor(_CALLERS) as pool:
        seconds = list(pool.map(search, range(count)))
    return Searches(time.monotonic(), seconds)
