"""Refuses a database that does not do what we rely on, before anything is kept there. A good one is remembered.

What was found is kept in the database itself, with its server's version: a look of its own costs a few milliseconds,
and the checks run again when the server, its version or our list changes. Two processes may check at once.
"""

import hashlib
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog
from pymongo.database import Database

from config.settings import Settings
from core.errors import KeystageError, UnavailableError, UnfitDatabaseError
from core.storage.abilities.ability import Finding
from core.storage.abilities.examination import ABILITIES, examine
from core.storage.failures import failed_backend
from core.storage.handles import SystemData
from core.storage.mongo import Document, close, connect

log = structlog.get_logger(__name__)

TRUSTED: Final = ("1e894a345cf685b4", "1820185f5a5f0f4d")
"""The build of the embedded server that is pinned, and the list that our own tests hold it to: it need not be checked
where a demo waits for it. `tests/contract/test_first_start.py` says what belongs here.
"""
_NAMES: Final = tuple(ability.name for ability in ABILITIES)
_REMEMBERED: Final = "abilities"
_OF_THIS_ANSWER: Final = frozenset({"ok", "$clusterTime", "operationTime"})


def trusted_or_exit(settings: Settings) -> None:
    """End this process with a sentence where the database is away, and with the list where it is not to be trusted."""
    try:
        require_trusted(settings)
    except KeystageError as error:
        sys.exit(str(error))


def require_trusted(settings: Settings) -> None:
    """Raise UnfitDatabaseError as `require_fit` does, and UnavailableError when the database does not answer."""
    try:
        require_fit(settings)
    except Exception as error:
        if (failed := failed_backend(error)) is None:
            raise
        raise UnavailableError(failed.what) from error


def require_fit(settings: Settings) -> None:
    """Raise UnfitDatabaseError unless the database does all we rely on, or its shortfalls are named as known.

    Raises what the driver raises when it does not answer.
    """
    _require_names(settings.database_shortfalls)
    database = connect(settings.mongo_url, settings.mongo_tls)
    try:
        server = server_of(database)
        is_trusted = (server["build"], list_mark()) == TRUSTED
        if not is_trusted and not _is_remembered(database, server, settings.database_shortfalls):
            _examine(settings, database, server)
    finally:
        close(database)


def _require_names(known: Sequence[str]) -> None:
    unknown = [name for name in known if name not in _NAMES]
    if unknown:
        where = "`keystage doctor --database` lists them"
        raise UnfitDatabaseError(f"KEYSTAGE_DATABASE_SHORTFALLS: {', '.join(unknown)} is no ability's name; {where}")


def _examine(settings: Settings, database: Database[Document], server: Document) -> None:
    began = time.monotonic()
    found = examine(settings.mongo_url, settings.mongo_tls, settings.database_check_in)
    seconds = round(time.monotonic() - began, 1)
    missing = [finding.ability for finding in found.shortfalls]
    surprising = [finding for finding in found.shortfalls if finding.ability not in settings.database_shortfalls]
    if surprising:
        raise UnfitDatabaseError(_refusal(server, surprising))
    if missing:
        log.warning("database.known_shortfalls", abilities=missing)
    checks = SystemData(database)["database_checks"]
    checks.replace_one({"_id": _REMEMBERED}, {**server, "list": list_mark(), "shortfalls": missing}, upsert=True)
    log.info("database.checked", version=server["version"], abilities=len(found.findings), seconds=seconds)


def _is_remembered(database: Database[Document], server: Document, known: Sequence[str]) -> bool:
    remembered = SystemData(database)["database_checks"].find_one({"_id": _REMEMBERED})
    if remembered is None or {**remembered, **server, "list": list_mark()} != remembered:
        return False
    return set(remembered["shortfalls"]) <= set(known)


def server_of(database: Database[Document]) -> Document:
    """Which server of which version this is."""
    built: dict[str, Any] = database.client.admin.command("buildInfo")
    hello = database.client.admin.command("hello")
    build = sorted((name, repr(value)) for name, value in built.items() if name not in _OF_THIS_ANSWER)
    return {"version": str(built["version"]), "build": _digest(build), "set": hello.get("setName")}


def list_mark() -> str:
    """What changes with the list of abilities."""
    return _digest(_NAMES)


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _refusal(server: Document, missing: Sequence[Finding]) -> str:
    names = ",".join(finding.ability for finding in missing)
    lines = [f"  {finding.ability}: {finding.seen}. {finding.breaks}" for finding in missing]
    what = f"the database (MongoDB's protocol, version {server['version']}) does not do what Keystage relies on:"
    advice = f"use another one, or accept exactly this with KEYSTAGE_DATABASE_SHORTFALLS={names}; see docs/databases.md"
    return "\n".join([what, *lines, advice])
