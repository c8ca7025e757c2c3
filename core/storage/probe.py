"""Asks once, without patience, whether MongoDB answers. Keeps no connection."""

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError

from core.storage.mongo import Document

_PATIENCE_SECONDS = 2.0


def mongo_answers(database: Database[Document]) -> bool:
    """Whether MongoDB answers."""
    try:
        with pymongo.timeout(_PATIENCE_SECONDS):
            database.client.admin.command("ping")
    except PyMongoError:
        return False
    return True
