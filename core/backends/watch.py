"""Knows which backends are away: asks each every few seconds, side by side, and remembers its last word.

One that stays silent costs a thread of its own and nobody's time. The watch tells; it never decides what follows.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, wait

import structlog

from config.beside import Shared
from core.backends.absence_log import AbsenceLog
from core.backends.backend import Backend
from core.errors import BackendAwayError, UnavailableError
from core.storage.failures import failed_backend

INTERVAL_SECONDS = 5.0
"""How often each backend is asked."""
AWAY_INTERVAL_SECONDS = 1.0
"""How often one that is away is asked, so that its return is soon known."""
PATIENCE_SECONDS = 1.5
"""How long one may stay silent before it counts as away."""

Probe = Callable[[], object]
"""Asks one backend. Raises UnavailableError, or what its driver raises, when it does not answer; BackendAwayError of
another backend says that nobody can tell. Anything else is a fault of ours."""

log = structlog.get_logger(__name__)


class BackendWatch:
    """The last word of each backend. Safe to use from several threads."""

    def __init__(
        self,
        probes: Mapping[Backend, Probe],
        interval_seconds: float = INTERVAL_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        absences: AbsenceLog | None = None,
    ) -> None:
        self._changed: Callable[[], None] = lambda: None
        told = absences or AbsenceLog()
        self._watched = {
            backend: _Watched(backend, probe, lambda: self._changed(), told) for backend, probe in probes.items()
        }
        self._interval = interval_seconds
        self._patience = patience_seconds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look_until_closed, name="backend-watch", daemon=True)

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` after a backend went away or came back."""
        self._changed = changed

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Stop asking. A question that is under way is not waited for."""
        self._closing.set()

    def away(self, among: Collection[Backend] | None = None) -> frozenset[Backend]:
        """The backends, all or those `among` these, whose last word was none."""
        asked = self._watched if among is None else among
        return frozenset(name for name in asked if name in self._watched and self._watched[name].is_away)

    def is_settled(self, backend: Backend, seconds: float) -> bool:
        """Whether one answers, and has not come back within the last so many seconds."""
        watched = self._watched.get(backend)
        return watched is None or not watched.was_away_within(seconds)

    def note_away(self, backend: Backend) -> None:
        """Say that a backend just refused; it counts as away until it answers its probe."""
        if watched := self._watched.get(backend):
            watched.note(away=True)

    def require(self, *needed: Backend) -> None:
        """Raises BackendAwayError for one that is known to be away. Before `start` nobody knows."""
        if self._thread.is_alive():
            for backend in sorted(self.away(needed)):
                raise BackendAwayError(backend)

    def doubt(self, backend: Backend) -> None:
        """Say that a call of one just failed: it is asked at once."""
        if self._thread.is_alive() and (watched := self._watched.get(backend)):
            watched.ask()

    def look(self, among: Collection[Backend] | None = None) -> Mapping[Backend, bool]:
        """Ask now, side by side; for each of them whether it answered in time."""
        asked = {name: each for name, each in self._watched.items() if among is None or name in among}
        questions = {name: each.ask() for name, each in asked.items()}
        wait(questions.values(), timeout=self._patience)
        for name, question in questions.items():
            if not question.done():
                asked[name].took = self._patience
                asked[name].note(away=True)
            elif error := question.exception():
                log.error("backend.change_not_told", backend=name.value, exc_info=error)
        return {name: not each.is_away for name, each in asked.items()}

    def answers(self, backend: Backend) -> bool:
        """Whether one answers now; one that is not watched does."""
        return self.look({backend}).get(backend, True)

    def seconds(self, backend: Backend) -> float:
        """How long its last answer took; for one that gave none, as long as anybody waits."""
        return self._watched[backend].took if backend in self._watched else self._patience

    def _look_until_closed(self) -> None:
        next_round = time.monotonic()
        while not self._closing.is_set():
            is_round = time.monotonic() >= next_round
            if is_round:
                next_round = time.monotonic() + self._interval
            try:
                self.look(None if is_round else self.away())
            except Exception:
                # no thread could be had, say: who stopped asking would keep the last words for ever
                log.exception("backend.look_broken")
            self._closing.wait(min(self._interval, AWAY_INTERVAL_SECONDS))


class _Watched:
    """One backend: at most one question to it is under way."""

    def __init__(self, backend: Backend, probe: Probe, changed: Callable[[], None], absences: AbsenceLog) -> None:
        self._backend = backend
        self._probe = probe
        self._changed = changed
        self._absences = absences
        self._lock = threading.Lock()
        self._question = Shared(self._find_out, f"probe-{backend}")
        self.is_away = False
        """whether its last word was none"""
        self._back_at = float("-inf")
        self._is_broken = False
        self.took = 0.0
        """seconds to its last word"""

    def was_away_within(self, seconds: float) -> bool:
        """Whether it is away, or was within the last so many seconds."""
        return self.is_away or time.monotonic() - self._back_at < seconds

    def ask(self) -> Future[None]:
        """The question that is under way, or a new one."""
        return self._question.ask()

    def note(self, *, away: bool, why: str = "silent") -> None:
        """Remember its word; a change is told once."""
        with self._lock:
            if away is self.is_away:
                return
            self.is_away = away
            self._back_at = self._back_at if away else time.monotonic()
            self._absences.note(self._backend, self, away=away, why=why)
        self._changed()

    def _find_out(self) -> None:
        asked_at = time.monotonic()
        try:
            self._probe()
        except Exception as error:
            self._note_failure(error)
        else:
            self._is_broken = False
            self.note(away=False)
        finally:
            self.took = time.monotonic() - asked_at

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, BackendAwayError) and error.backend is not self._backend:
            # nobody can tell, and its last word stays
            return
        if isinstance(error, UnavailableError) or failed_backend(error):
            self._is_broken = False
            self.note(away=True, why=error.message if isinstance(error, BackendAwayError) else type(error).__name__)
            return
        # a fault of ours says nothing of the backend, and is told once
        if not self._is_broken:
            log.error("backend.probe_broken", backend=self._backend.value, exc_info=error)
        self._is_broken = True
