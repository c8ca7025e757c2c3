"""Runs the check of every ability against one database, in collections of its own that it removes again."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from config.tls import TlsFiles
from core.errors import UnavailableError
from core.storage.abilities.ability import TRANSIENT, Ability, Finding, FormsSent, Result, Room, ShortfallError
from core.storage.abilities.forms import FORMS
from core.storage.abilities.server import SERVER
from core.storage.abilities.transactions import TRANSACTIONS
from core.storage.abilities.uniqueness import UNIQUENESS
from core.storage.command_log import CHECK_PREFIX
from core.storage.failures import away
from core.storage.mongo import Document, close, connect

ABILITIES: Final[tuple[Ability, ...]] = (*SERVER, *UNIQUENESS, *TRANSACTIONS, *FORMS)
"""All that we rely on a database for, and can see of it."""
_TRIES: Final = 3
_MAY_NOT: Final = frozenset({13, 8000})
"""MongoDB's code, and that of its cloud, for too few rights."""


@dataclass(frozen=True)
class Examination:
    """What the checks found, and where they worked."""

    database: str
    findings: Sequence[Finding]

    @property
    def shortfalls(self) -> list[Finding]:
        """What does not hold. What could not be seen for want of another ability is not counted beside it."""
        return [finding for finding in self.findings if finding.result is Result.MISSING]


def examine(
    url: str, tls: TlsFiles, within: str | None = None, abilities: Sequence[Ability] = ABILITIES
) -> Examination:
    """Hold the server behind the URL to every ability, or to those that are named.

    It works in a database of its own, or in the one named `within`, where it makes and removes collections of its own.
    Raises UnavailableError where it may create neither.
    """
    sent = FormsSent()
    product = connect(url, tls, listeners=[sent])
    try:
        name = within or f"{CHECK_PREFIX}{secrets.token_hex(6)}"
        database = product.client.get_database(name)
        with _room(database, sent, is_own=within is None) as room:
            return Examination(name, _explained([_look(ability, room) for ability in abilities]))
    finally:
        close(product)


@contextmanager
def _room(database: Database[Document], sent: FormsSent, is_own: bool) -> Iterator[Room]:
    room = Room(database, sent)
    try:
        room.filled("entrance", [{"_id": 0}])
    except OperationFailure as error:
        if error.code not in _MAY_NOT:
            raise
        advice = "name one where it may in KEYSTAGE_DATABASE_CHECK_IN, or with --in"
        raise UnavailableError(f"this user of MongoDB may create nothing in {database.name}: {advice}") from error
    try:
        yield room
    finally:
        _leave(room, is_own)


def _leave(room: Room, is_own: bool) -> None:
    if is_own:
        try:
            room.database.client.drop_database(room.database)
        except OperationFailure as error:
            if error.code not in _MAY_NOT:
                raise
        else:
            return
    # a database without a collection is none
    room.clear()


@dataclass(frozen=True)
class _Look:
    """How one check ended, and which forms it sent."""

    ability: Ability
    finding: Finding
    forms: frozenset[str]


def _look(ability: Ability, room: Room) -> _Look:
    room.forms.forms.clear()
    result, seen = Result.HOLDS, ""
    try:
        _check(ability, room)
    except ShortfallError as shortfall:
        result, seen = Result.MISSING, str(shortfall)
    except PyMongoError as error:
        if away(error):
            raise
        result, seen = Result.MISSING, f"it was refused: {_first_words(error)}"
    return _Look(ability, Finding(ability.name, result, seen, ability.breaks), frozenset(room.forms.forms))


def _check(ability: Ability, room: Room) -> None:
    # a server that is busy, or made a collection a moment ago, may ask for another try
    again = retry_if_exception(lambda error: isinstance(error, PyMongoError) and error.has_error_label(TRANSIENT))
    Retrying(retry=again, stop=stop_after_attempt(_TRIES), before_sleep=lambda _: room.renew(), reraise=True)(
        ability.check, room
    )


def _first_words(error: PyMongoError) -> str:
    # the driver repeats the whole answer behind what the server said
    return str(error).partition(", full error")[0]


def _explained(looks: Sequence[_Look]) -> list[Finding]:
    """The findings; one that only shows the want of another form names that form."""
    missing = {look.ability.form: look for look in looks if look.ability.form and look.finding.result is Result.MISSING}

    def explained(look: _Look) -> Finding:
        others = sorted(form for form in look.forms & missing.keys() if form and form != look.ability.form)
        roots = [form for form in others if look.ability.form not in missing[form].forms]
        if look.finding.result is Result.MISSING and roots:
            return replace(look.finding, result=Result.UNSEEN, seen=f"its check needs {', '.join(roots)}")
        return look.finding

    return [explained(look) for look in looks]
