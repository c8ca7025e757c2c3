"""How much may be made in one place, all together: each rendering and each answer has a limit of its own, and there
are thousands of documents. It counts, and keeps nothing."""

import threading

from core.errors import StageError

MEBIBYTE = 1024 * 1024
MOST_IN_AN_EXECUTION = 64 * MEBIBYTE
"""What stages put into documents: a result can be stored up to 16 MiB, and the stages before may need some more."""


class RoomExhaustedError(StageError):
    """Rendered texts and answers of services come to more than there is room for."""

    code = "too_much_data"


class Room:
    """So many characters, or bytes. Safe to use from several threads."""

    def __init__(self, most: int = MOST_IN_AN_EXECUTION) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Use some of it. Raises RoomExhaustedError when there is not so much left, and uses nothing then."""
        with self._lock:
            if size > self._left:
                raise RoomExhaustedError
            self._left -= size
