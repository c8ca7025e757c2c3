"""A memory by name that does not grow with the work: every cache of our processes is one, or says why it needs none."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Default = TypeVar("Default")


class Recent(Generic[Key, Value]):
    """A mapping of bounded size that forgets what was used longest ago. Safe to use from several threads."""

    def __init__(self, size: int, forgotten: Callable[[Value], None] | None = None) -> None:
        """`forgotten` is called with each value that had to go, but not with one that was dropped or replaced."""
        self._size = size
        self._forgotten = forgotten
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, default: Default) -> Value | Default:
        """What is remembered, which counts as its use; else the default."""
        with self._lock:
            if key not in self._entries:
                return default
            self._entries.move_to_end(key)
            return self._entries[key]

    def put(self, key: Key, value: Value) -> None:
        """Remember a value, and forget another one when that is one too many."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            gone = self._entries.popitem(last=False)[1] if len(self._entries) > self._size else None
        if gone is not None and self._forgotten:
            self._forgotten(gone)

    def drop(self, key: Key) -> Value | None:
        """Forget one; what it was."""
        with self._lock:
            return self._entries.pop(key, None)
