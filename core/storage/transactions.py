"""Transactions: several writes, all or none. As the driver's own helper, but it does not go on for two minutes when the
server is gone.
"""

import random
import time
from collections.abc import Callable
from typing import Final

from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import ConnectionFailure, PyMongoError

from core.storage.mongo import Document

_LONGEST_SECONDS: Final = 120.0
"""How long transactions that meet one another are tried again: the driver's own figure."""
_LONGEST_PAUSE_SECONDS: Final = 0.5
_BEGIN_AGAIN, _COMMIT_AGAIN = "TransientTransactionError", "UnknownTransactionCommitResult"


def in_transaction(
    database: Database[Document], writes: Callable[[ClientSession], None], is_away: Callable[[], bool]
) -> None:
    """Make `writes` and commit them. They are made again when they met another transaction; and once, unless the
    server is known to be away, when the connection broke.
    """
    patience = _Patience(is_away)
    with database.client.start_session() as session:
        while True:
            session.start_transaction()
            try:
                writes(session)
                _commit(session, patience)
                return
            except BaseException as error:
                if session.in_transaction:
                    session.abort_transaction()
                if not isinstance(error, PyMongoError) or not patience.allows(error, _BEGIN_AGAIN):
                    raise
            patience.pause()


def _commit(session: ClientSession, patience: "_Patience") -> None:
    while True:
        try:
            return session.commit_transaction()
        except PyMongoError as error:
            if not patience.allows(error, _COMMIT_AGAIN):
                raise


class _Patience:
    """Of one transaction."""

    def __init__(self, is_away: Callable[[], bool]) -> None:
        self._is_away = is_away
        self._until = time.monotonic() + _LONGEST_SECONDS
        self._broken = 0
        self._pauses = 0

    def allows(self, error: PyMongoError, label: str) -> bool:
        """Whether to go on after this error, which has to carry the label."""
        if isinstance(error, ConnectionFailure):
            self._broken += 1
        return (
            error.has_error_label(label) and time.monotonic() < self._until and self._broken < 2 and not self._is_away()
        )

    def pause(self) -> None:
        """Let the other transaction go first, longer each time."""
        longest = min(0.005 * 1.5**self._pauses, _LONGEST_PAUSE_SECONDS)
        self._pauses += 1
        time.sleep(random.random() * longest)  # noqa: S311
