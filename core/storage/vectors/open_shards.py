"""The shards that one process has open: a few, as each costs a file, a thread and 20 to 50 MB of mapped files.

Whoever asks for one more waits until the one that was used longest ago is closed; none is closed while it is in use.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from qdrant_edge import EdgeShard


@dataclass
class _Place:
    """One shard, open or not. Its lock is held while that changes."""

    name: str
    shard: EdgeShard | None = None
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class OpenShards:
    """Shards by name. Safe to use from several threads; work on one shard never waits for another to open or close."""

    def __init__(self, size: int, load: Callable[[str], EdgeShard | None]) -> None:
        """Keep `size` shards open, and more only while more are in use. `load` gives None where there is none."""
        self._size = size
        self._load = load
        self._places: OrderedDict[str, _Place] = OrderedDict()
        """the one that was used longest ago first"""
        self._lock = threading.Lock()

    @contextmanager
    def using(self, name: str) -> Iterator[EdgeShard | None]:
        """The shard, opened where needed and kept open for the block; None when there is none."""
        with self._kept(name) as place:
            with place.lock:
                if place.shard is None:
                    place.shard = self._load(name)
            yield place.shard

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Let nobody open or close the shard before the block ends: it may be made there."""
        with self._kept(name) as place, place.lock:
            yield

    @contextmanager
    def closed(self, name: str) -> Iterator[None]:
        """The same, with the shard closed, whoever uses it: it may be removed."""
        with self._kept(name) as place, place.lock:
            _close(place)
            yield

    def close(self) -> None:
        """Close every shard."""
        with self._lock:
            places = list(self._places.values())
        for place in places:
            with self.closed(place.name):
                pass

    @contextmanager
    def _kept(self, name: str) -> Iterator[_Place]:
        with self._lock:
            place = self._places.setdefault(name, _Place(name))
            place.users += 1
            self._places.move_to_end(name)
        try:
            self._close_idle()
            yield place
        finally:
            self._let_go(place)

    def _close_idle(self) -> None:
        """Make room for the one that was asked for."""
        with self._lock:
            too_many = len(self._places) - self._size
            idle = [place for place in self._places.values() if place.users == 0][: max(too_many, 0)]
            for place in idle:
                # so that nobody else closes it too
                place.users += 1
        for place in idle:
            with place.lock:
                # somebody may have come for it meanwhile; who comes from here on waits, and opens it again
                if self._is_ours_alone(place):
                    _close(place)
            self._let_go(place)

    def _is_ours_alone(self, place: _Place) -> bool:
        with self._lock:
            return place.users == 1

    def _let_go(self, place: _Place) -> None:
        with self._lock:
            place.users -= 1
            if place.users == 0 and place.shard is None:
                del self._places[place.name]


def _close(place: _Place) -> None:
    if place.shard is not None:
        place.shard.close()
        place.shard = None
