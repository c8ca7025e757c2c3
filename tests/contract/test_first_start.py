"""The first start on a database: it is checked once for each server and version, and refused for what it lacks."""

import threading
from collections.abc import Iterator

import pytest

from config.settings import Settings
from config.tls import TlsFiles
from core.errors import UnavailableError, UnfitDatabaseError
from core.storage import mongo
from core.storage.abilities import first_start
from core.storage.abilities.examination import Examination, examine
from core.storage.abilities.first_start import require_trusted, trusted_or_exit
from core.storage.mongo import close, connect
from tests.servers import free_port, memory_directory, mongo_server, own_database
from tests.weaknesses import KeepsFreedValues, Refuses, sets
from tests.wire_proxy import Ask, Document, Weakness, weakened


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A server of these tests' own: its databases are counted."""
    with memory_directory() as directory, mongo_server(directory) as server:
        yield server.url


@pytest.fixture
def url(server_url: str) -> Iterator[str]:
    """A database that nobody has started on, on a server that is not the pinned one."""
    with weakened(own_database(server_url), Weakness()) as url:
        yield url


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that the checks ran."""
    runs: list[str] = []

    def counted(url: str, tls: TlsFiles, within: str | None) -> Examination:
        runs.append(url)
        return examine(url, tls, within)

    monkeypatch.setattr(first_start, "examine", counted)
    return runs


class _Newer(Weakness):
    """The same server after it was replaced by a newer one."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        answer = ask(command)
        return {**answer, "version": "99.0"} if name == "buildInfo" else answer


def _settings(url: str, *known: str) -> Settings:
    return Settings(_env_file=None, mongo_url=url, database_shortfalls=known)


def test_a_good_database_is_checked_once_for_each_version(url: str, checked: list[str]) -> None:
    for _ in range(2):
        require_trusted(_settings(url))
    assert checked == [url]
    with weakened(url, _Newer()) as newer_url:
        for _ in range(2):
            require_trusted(_settings(newer_url))
    assert checked == [url, newer_url]


def test_the_pinned_server_is_trusted_for_what_it_was_held_to(server_url: str, checked: list[str]) -> None:
    """Where this fails after a change of the list or of the pinned server, TRUSTED is to read as is said here."""
    database = connect(own_database(server_url))
    assert examine(server_url, TlsFiles()).shortfalls == []
    assert (first_start.server_of(database)["build"], first_start.list_mark()) == first_start.TRUSTED
    require_trusted(_settings(server_url))
    assert checked == []
    close(database)


def test_a_longer_list_is_checked_again(url: str, checked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    require_trusted(_settings(url))
    monkeypatch.setattr(first_start, "_NAMES", (*first_start._NAMES, "another"))
    require_trusted(_settings(url))
    assert checked == [url, url]


def test_a_database_that_lacks_something_is_refused_with_the_list_until_it_is_known(
    url: str, checked: list[str]
) -> None:
    with weakened(url, KeepsFreedValues(sets)) as weak_url:
        for _ in range(2):
            with pytest.raises(UnfitDatabaseError) as refused:
                require_trusted(_settings(weak_url))
            said = str(refused.value)
            assert "unique.freed_by_set: the freed value stays taken for: insert" in said
            assert "The old name of what was renamed could not be given again." in said
            assert "KEYSTAGE_DATABASE_SHORTFALLS=unique.freed_by_set;" in said
        # another name does not excuse it
        with pytest.raises(UnfitDatabaseError):
            require_trusted(_settings(weak_url, "explain"))
        for _ in range(2):
            require_trusted(_settings(weak_url, "explain", "unique.freed_by_set"))
        # nobody wrote of a database that is not trusted, and what is known is remembered
        assert checked == [weak_url] * 4
        # known no longer: it is refused again
        with pytest.raises(UnfitDatabaseError):
            require_trusted(_settings(weak_url))


def test_what_hangs_on_a_missing_form_is_excused_with_it(url: str) -> None:
    with weakened(url, Refuses("update.$max")) as weak_url:
        require_trusted(_settings(weak_url, "update.$max"))


@pytest.mark.parametrize("name", ["all", "true", "*", "expression"])
def test_only_names_of_abilities_are_known_shortfalls(url: str, name: str) -> None:
    with pytest.raises(UnfitDatabaseError, match=r"is no ability's name"):
        require_trusted(_settings(url, name))


def test_two_processes_may_start_at_once(url: str) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            require_trusted(_settings(url))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    database = connect(url)
    assert database.list_collection_names() == ["database_checks"]
    assert [name for name in database.client.list_database_names() if name.startswith("keystage_check_")] == []
    close(database)


def test_a_process_ends_with_a_sentence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with weakened(url, Refuses("expression.$dateAdd")) as weak_url, pytest.raises(SystemExit) as ended:
        trusted_or_exit(_settings(weak_url))
    assert "expression.$dateAdd: it was refused: unknown: expression.$dateAdd" in str(ended.value.code)
    # what the URL asks for gives way to our own options
    monkeypatch.setitem(mongo._OPTIONS, "serverSelectionTimeoutMS", 200)
    nowhere = f"mongodb://127.0.0.1:{free_port()}/keystage"
    with pytest.raises(SystemExit, match="MongoDB does not answer"):
        trusted_or_exit(_settings(nowhere))
    with pytest.raises(UnavailableError):
        require_trusted(_settings(nowhere))
