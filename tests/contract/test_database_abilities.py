"""What a database is checked for: a good one does it all, and where one ability is taken away exactly it is named."""

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from config.tls import TlsFiles
from core.errors import UnavailableError
from core.storage.abilities.ability import FormsSent, Result, Room
from core.storage.abilities.examination import ABILITIES, Examination, examine
from core.storage.command_log import CHECK_PREFIX
from core.storage.mongo import close, connect
from tests import weaknesses
from tests.servers import memory_directory, mongo_server, own_database
from tests.weaknesses import KeepsFreedValues, Refuses
from tests.wire_proxy import Ask, Document, Weakness, weakened

NO_TLS = TlsFiles()
FORMS = sorted(ability.form for ability in ABILITIES if ability.form)
ONLY_TAKEN_AWAY_BY_WEAKENING = {"filter.element"}
"""It stands in no command: a query by an element looks like one by a value."""

WEAKNESSES: dict[str, tuple[Weakness, set[str]]] = {
    "unique indexes": (
        weaknesses.ignoring_an_option_of_indexes("unique", beside="partialFilterExpression"),
        {"index.unique"},
    ),
    "partial indexes": (
        weaknesses.ignoring_an_option_of_indexes("partialFilterExpression"),
        {"index.partialFilterExpression"},
    ),
    "sparse indexes": (weaknesses.ignoring_an_option_of_indexes("sparse"), {"index.sparse"}),
    "times to live": (
        weaknesses.ignoring_an_option_of_indexes("expireAfterSeconds"),
        {"index.expireAfterSeconds"},
    ),
    "validators": (weaknesses.ignoring("validator", of="create"), {"validator.$jsonSchema"}),
    "write concerns": (weaknesses.ignoring("writeConcern"), {"write_concern"}),
    "read concerns": (weaknesses.ignoring("readConcern"), {"read_concern"}),
    "explain": (weaknesses.NoExplain(), {"explain"}),
    "its clock": (weaknesses.NoClock(), {"clock"}),
    "a clock that moves": (weaknesses.StoppedClock(), {"clock"}),
    "retried writes": (weaknesses.never_retrying(), {"writes.retried"}),
    "transactions": (
        weaknesses.AppliesAtOnce(),
        {"transaction.isolated", "transaction.undone", "transaction.untorn", "transaction.conflict"},
    ),
    "what is undone": (weaknesses.NeverUndoes(), {"transaction.undone"}),
    "conflicts": (weaknesses.HidesConflicts(), {"transaction.conflict"}),
    "what $set freed": (KeepsFreedValues(weaknesses.sets), {"unique.freed_by_set"}),
    "what $unset freed": (KeepsFreedValues(weaknesses.unsets), {"unique.freed_by_unset"}),
    "what a replacement freed": (KeepsFreedValues(weaknesses.replaces), {"unique.freed_by_replace"}),
    "what a delete freed": (KeepsFreedValues(weaknesses.deletes), {"unique.freed_by_delete"}),
    "what left a partial index": (
        KeepsFreedValues(weaknesses.leaves),
        {"unique.freed_by_leaving_a_partial_index"},
    ),
    "elements of lists": (weaknesses.matching_no_elements(), {"filter.element"}),
    "the order of a list": (weaknesses.ignoring("sort", of="find"), {"find.sort"}),
    "the limit of a list": (weaknesses.ignoring("limit", of="find"), {"find.limit"}),
    "going on past a duplicate": (weaknesses.ignoring("ordered", of="insert"), {"insert.unordered"}),
    "upserts": (weaknesses.ignoring_of_statements("upsert"), {"update.upsert"}),
    "updates of many": (weaknesses.ignoring_of_statements("multi"), {"update.multi"}),
    "the greater of two": (weaknesses.doing_in_place_of("$max", "$set"), {"update.$max"}),
    "a set": (weaknesses.doing_in_place_of("$inc", "$set"), {"update.$inc"}),
}
"""What is taken away, and the abilities that must be named, these and no others."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that is asked for retried writes too."""
    with memory_directory() as directory, mongo_server(directory) as server:
        yield server.url.replace("&retryWrites=false", "")


@pytest.fixture(scope="module")
def sent(url: str) -> dict[str, frozenset[str]]:
    """The forms that each check sends."""
    forms = FormsSent()
    database = connect(own_database(url), NO_TLS, listeners=[forms])
    room, sent = Room(database, forms), {}
    for ability in ABILITIES:
        forms.forms.clear()
        ability.check(room)
        sent[ability.name] = frozenset(forms.forms)
    room.clear()
    close(database)
    return sent


def _named(found: Examination) -> set[str]:
    return {finding.ability for finding in found.shortfalls}


def test_a_good_database_has_them_all_and_keeps_nothing(url: str) -> None:
    found = examine(url, NO_TLS)
    assert [finding for finding in found.findings if finding.result is not Result.HOLDS] == []
    assert [finding.ability for finding in found.findings] == [ability.name for ability in ABILITIES]
    database = connect(url)
    assert [name for name in database.client.list_database_names() if name.startswith(CHECK_PREFIX)] == []
    close(database)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_a_server_does_not_know_is_named(url: str, sent: dict[str, frozenset[str]], form: str) -> None:
    # the others' checks send nothing that the proxy would touch
    concerned = [ability for ability in ABILITIES if form in sent[ability.name]]
    if form in ONLY_TAKEN_AWAY_BY_WEAKENING:
        assert concerned == []
        return
    with weakened(url, Refuses(form)) as weak_url:
        found = examine(weak_url, NO_TLS, abilities=concerned)
    assert _named(found) == {form}
    assert {finding.result for finding in found.findings} <= {Result.MISSING, Result.UNSEEN}
    assert form in next(finding.seen for finding in found.findings if finding.ability == form)


@pytest.mark.parametrize("taken", WEAKNESSES)
def test_what_a_server_does_not_do_is_named(url: str, taken: str) -> None:
    weakness, named = WEAKNESSES[taken]
    with weakened(url, weakness) as weak_url:
        found = examine(weak_url, NO_TLS)
    assert _named(found) == named, [finding for finding in found.findings if finding.result is not Result.HOLDS]
    assert all(finding.seen and finding.breaks for finding in found.shortfalls)


def test_each_ability_is_taken_away_once() -> None:
    taken = {name for _, named in WEAKNESSES.values() for name in named} | {*FORMS}
    assert taken == {ability.name for ability in ABILITIES}


def test_it_works_in_a_database_that_is_named_and_leaves_what_is_there(url: str) -> None:
    own = own_database(url)
    database = connect(own)
    database["theirs"].insert_one({"_id": 1})
    found = examine(url, NO_TLS, within=urlsplit(own).path.strip("/"))
    assert found.shortfalls == []
    assert database.list_collection_names() == ["theirs"]
    assert list(database["theirs"].find()) == [{"_id": 1}]
    close(database)


class _IsBusyOnce(Weakness):
    """Asks for another try of the first transaction."""

    def __init__(self) -> None:
        self._asked = False

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        if "startTransaction" in command and not self._asked:
            self._asked = True
            return {"ok": 0.0, "code": 112, "errmsg": "busy", "errorLabels": ["TransientTransactionError"]}
        return ask(command)


def test_a_server_that_asks_for_another_try_is_given_one(url: str) -> None:
    concerned = [ability for ability in ABILITIES if ability.name.startswith("transaction.")]
    with weakened(url, _IsBusyOnce()) as busy_url:
        assert examine(busy_url, NO_TLS, abilities=concerned).shortfalls == []


class _IsSlowToWrite(Weakness):
    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        if name in ("insert", "update"):
            time.sleep(1.1)
        return ask(command)


def test_a_server_that_takes_its_time_over_a_write_keeps_good_time(url: str) -> None:
    concerned = [ability for ability in ABILITIES if ability.name == "clock"]
    with weakened(url, _IsSlowToWrite()) as slow_url:
        assert examine(slow_url, NO_TLS, abilities=concerned).shortfalls == []


class _CreatesNothing(Weakness):
    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        if name == "insert" and command["$db"].startswith(CHECK_PREFIX):
            return {"ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "not authorized"}
        return ask(command)


def test_a_user_who_may_create_no_database_is_told_to_name_one(url: str) -> None:
    with weakened(url, _CreatesNothing()) as weak_url:
        with pytest.raises(UnavailableError, match="KEYSTAGE_DATABASE_CHECK_IN"):
            examine(weak_url, NO_TLS)
        assert examine(weak_url, NO_TLS, within="keystage").shortfalls == []
