"""Which stage actor has the least waiting: the calls of this process that are under way, by kind and by actor.

It chooses when a call is sent, over all jobs of the process. It knows nothing of what the calls do.
"""

import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

import structlog

from config.beside import beside
from core.errors import ActorLostError
from pipelines.remote import end_actor, ended, result_of, send

_LOOK_SECONDS = 10.0
_SILENCE_SECONDS = 60.0
"""An actor that answers no question for so long, in a thread that does nothing else, is frozen."""

log = structlog.get_logger(__name__)

Send = Callable[[Any], Any]
"""Sends a call to the actor that it is given; the call's reference."""


class Kind(StrEnum):
    """Kinds of calls, each with threads of its own in an actor, so that none holds up another."""

    CHAINS = "chains"
    EXTRACTION = "extraction"
    UPKEEP = "upkeep"
    """pages of a namespace's deletion or of a rebuilding"""
    PROBES = "probes"
    """health checks, and the word that a call is to stop"""


THREADS = {Kind.CHAINS: 2, Kind.EXTRACTION: 1, Kind.UPKEEP: 1, Kind.PROBES: 2}
"""Threads of a stage actor by kind of call: an ingestion holds up neither a query nor a health check."""


class Turn:
    """A job's place in the line for an idle actor."""


class _Sent:
    """A call that was given to an actor, and its reference as soon as there is one."""

    def __init__(self, kind: Kind, place: int) -> None:
        self.kind = kind
        self.place = place
        self.reference: Any = None

    @property
    def has_ended(self) -> bool:
        """Whether its actor is done with it."""
        return self.reference is not None and bool(ended([self.reference], 0))


class Load:
    """The calls to the actors of one attachment. Safe to use from several threads."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = actors
        self._under_way: list[_Sent] = []
        self._line: list[Turn] = []
        self._returning: dict[int, Any] = {}
        """place of an actor that ended → what it answers once it is back"""
        self._asked: dict[int, tuple[Any, float]] = {}
        """place of an actor that has calls → what it was asked, and when"""
        self._look_at = 0.0
        self._changed = threading.Condition()
        self.is_void = False
        """whether an actor ended for good: only attaching again makes another"""

    def send(self, kind: Kind, send: Send) -> Any:
        """Give a call to the actor with the least waiting; its reference."""
        with self._changed:
            place = min(self._present(), key=lambda place: (self._waiting(place, kind), self._waiting(place)))
            sent = self._take(kind, place)
        return self._sent(sent, send)

    def send_when_idle(self, kind: Kind, turn: Turn, send: Send) -> Any | None:
        """Give a call to an actor that has none of its kind, when it is this job's turn; None when it has to wait.

        A job that asked in vain stands in line until it asks again and gets one, or leaves.
        """
        with self._changed:
            if turn not in self._line:
                self._line.append(turn)
            idle = [place for place in self._present() if not self._waiting(place, kind)]
            if self._line.index(turn) >= len(idle):
                return None
            self._line.remove(turn)
            sent = self._take(kind, min(idle, key=self._waiting))
        return self._sent(sent, send)

    def look(self) -> None:
        """End actors that have calls and say nothing: Ray makes them again, and their calls are lost as with any other
        that ended. To be called now and then by whoever waits."""
        now = time.monotonic()
        with self._changed:
            if now < self._look_at:
                return
            self._look_at = now + _LOOK_SECONDS
            busy = {sent.place for sent in self._under_way if sent.kind is not Kind.PROBES} - self._returning.keys()
            self._asked = {place: asked for place, asked in self._asked.items() if place in busy}
            for place in busy:
                answer, asked_at = self._asked.get(place, (None, now))
                if answer is None or ended([answer], 0):
                    self._asked[place] = (self._question(place), now)
                elif now - asked_at > _SILENCE_SECONDS:
                    del self._asked[place]
                    log.error("actor.silent", seconds=round(now - asked_at), actor=place)
                    actor = self._actors[place]
                    beside(partial(end_actor, actor, restart=True), "ray-kill")

    def leave(self, turn: Turn) -> None:
        """Stand in line no longer."""
        with self._changed:
            if turn in self._line:
                self._line.remove(turn)
                self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until a call ended, or so long."""
        with self._changed:
            self._changed.wait(seconds)

    def done(self, reference: Any) -> None:
        """Say that a call has ended."""
        with self._changed:
            self._under_way = [sent for sent in self._under_way if sent.reference is not reference]
            self._changed.notify_all()

    def actor_ended(self, reference: Any) -> None:
        """Say that the actor of this call ended: until it is back, others are given the calls."""
        with self._changed:
            for sent in self._under_way:
                if sent.reference is reference and sent.place not in self._returning:
                    self._returning[sent.place] = self._question(sent.place)
        self.done(reference)

    def _question(self, place: int) -> Any:
        return send(self._actors[place].config.options(concurrency_group=Kind.PROBES.value))

    def _present(self) -> list[int]:
        """The actors that are there; all of them when none is, for Ray keeps a call until its actor is back."""
        for place, answer in [*self._returning.items()]:
            if ended([answer], 0):
                del self._returning[place]
                self.is_void = self.is_void or not _is_back(answer)
        self._under_way = [sent for sent in self._under_way if not sent.has_ended]
        places = range(len(self._actors))
        return [place for place in places if place not in self._returning] or list(places)

    def _waiting(self, place: int, kind: Kind | None = None) -> int:
        """Calls, of one kind or of all, that this actor has not finished."""
        return sum(sent.place == place and kind in (None, sent.kind) for sent in self._under_way)

    def _take(self, kind: Kind, place: int) -> _Sent:
        sent = _Sent(kind, place)
        self._under_way.append(sent)
        return sent

    def _sent(self, sent: _Sent, send: Send) -> Any:
        try:
            sent.reference = send(self._actors[sent.place])
        except BaseException:
            with self._changed:
                self._under_way.remove(sent)
            raise
        return sent.reference


def _is_back(answer: Any) -> bool:
    try:
        result_of(answer, 0)
    except ActorLostError:
        return False
    return True
