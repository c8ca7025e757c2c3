"""The scenes that are played with each part away, what one shows, and which promises it shows broken. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.backends.backend import Backend
from tests.gate import Manner

_STOPS_SEARCHES = {Backend.MONGO, Backend.VECTORS, Backend.EMBEDDER, Backend.RAY, Backend.KEY_SERVICE}
"""The searches beside a key service that is away use a secret."""
_STOPS_UPLOADS = {Backend.MONGO, Backend.REDIS, Backend.BLOBS}
_NOTICED_AT_ONCE = {Backend.MONGO, Backend.REDIS, Backend.BLOBS, Backend.KEY_SERVICE, Backend.EMBEDDER}
"""Where nobody is, or says that it is away, the next request meets that; behind Ray a call is repeated for a while."""
_NOTICED_SECONDS = 20.0
"""After so long every part that was away has been noticed, however it was away."""
_ZEROS = ("attempts_beyond_the_first", "not_completed", "lost", "doubled", "holds_open")


@dataclass(frozen=True)
class Row:
    """Which part is away, and how."""

    backend: Backend
    manner: Manner

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.backend.value} {self.manner.value}"


ROWS = tuple(
    Row(backend, manner)
    for backend in (
        Backend.MONGO, Backend.REDIS, Backend.BROKER, Backend.VECTORS, Backend.BLOBS, Backend.KEY_SERVICE,
        Backend.EMBEDDER, Backend.RAY,
    )
    for manner in Manner
    if manner is not Manner.UNAVAILABLE or backend is Backend.BLOBS
)  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """What one scene showed. Seconds; None where there was nothing of the kind."""

    backend: str
    manner: str
    away_seconds: float
    search_first: float | None
    search_first_status: int
    search_slowest: float | None
    searches: Mapping[str, int]
    """answers to searches asked while it was away, by status"""
    upload_slowest: float | None
    uploads: Mapping[str, int]
    health_slowest: float | None
    other_slowest: float | None
    others: Mapping[str, int]
    """answers to a request that needs MongoDB alone"""
    search_well_after: float | None
    """from the return to the first search that was done again"""
    batch_ended_after: float
    """from the return to the end of the batch; below 0 when it had ended by then"""
    all_ended_after: float
    attempts_beyond_the_first: int
    waiting_for: tuple[str, ...]
    not_completed: int
    lost: int
    doubled: int
    expected: int
    found: int
    left_behind: int
    """jobs of which no caller was told"""
    holds_open: int
    restarts: Mapping[str, int]
    wrong: tuple[str, ...] = ()
    """answers that no caller can work with"""


def broken(figures: Figures) -> list[str]:
    """Which promises were not kept in a scene; bounds of time are nobody's promise here."""
    backend = Backend(figures.backend)
    found = [f"{name} = {value}" for name in _ZEROS if (value := getattr(figures, name))]
    if figures.found != figures.expected:
        found.append(f"documents: {figures.found} of {figures.expected}")
    answers = {
        "searches": (figures.searches, backend in _STOPS_SEARCHES),
        "uploads": (figures.uploads, backend in _STOPS_UPLOADS),
        "others": (figures.others, backend is Backend.MONGO),
    }
    for name, (seen, may_be_refused) in answers.items():
        if not may_be_refused and set(seen) - {"200"}:
            found.append(f"{name}, which need nothing that is away: {dict(seen)}")
    refused = figures.searches.get("503", 0) + figures.uploads.get("503", 0)
    if not refused and _must_be_noticed(backend, figures):
        found.append("nobody noticed that it was away: no request was refused")
    # a request whose record was written in the database's last moment is answered 503, for nobody can say so any more
    if figures.left_behind and backend is not Backend.MONGO:
        found.append(f"left behind = {figures.left_behind}")
    return [*found, *figures.wrong]


def _must_be_noticed(backend: Backend, figures: Figures) -> bool:
    if backend not in _STOPS_SEARCHES | _STOPS_UPLOADS:
        return False
    at_once = backend in _NOTICED_AT_ONCE and figures.manner != Manner.FROZEN.value
    return at_once or figures.away_seconds >= _NOTICED_SECONDS
