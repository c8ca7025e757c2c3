"""Asks once, without patience, whether MongoDB answers. Keeps no connection."""

from pymongo.database import Database
from pymongo.errors import PyMongoError

from core.storage.mongo import Document, within

_PATIENCE_SECONDS = 2.0
_WATCHED_SECONDS = 1.4
"""About as long as the watch of backends waits."""


def ask_mongo(database: Database[Document], seconds: float = _WATCHED_SECONDS) -> None:
    """Raise what the driver raises unless MongoDB answers in time."""
    with within(seconds):
        database.client.admin.command("ping")


def mongo_answers(database: Database[Document]) -> bool:
    """Whether MongoDB answers."""
    try:
        ask_mongo(database, _PATIENCE_SECONDS)
    except PyMongoError:
        return False
    return True
