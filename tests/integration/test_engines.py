"""Each engine that this machine has: it keeps what it acknowledged when it is killed, and is checked for the rest."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo.errors import PyMongoError

from cli.stack.engine import Engine, program
from config.tls import TlsFiles
from core.storage.abilities.ability import Result
from core.storage.abilities.examination import examine
from core.storage.mongo import close, connect
from tests.engines import LACKS
from tests.servers import mongo_server

INSTALLED = [
    pytest.param(engine, marks=pytest.mark.skipif(program(engine) is None, reason=f"{engine} is not on this machine"))
    for engine in Engine
]
WRITERS = 4
ENOUGH = 100
"""Acknowledged writes before the kill."""


@pytest.mark.parametrize("engine", INSTALLED)
def test_what_was_acknowledged_outlives_a_kill(engine: Engine, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    with mongo_server(tmp_path, engine=engine) as server:
        enough = threading.Event()
        writers = [
            threading.Thread(target=_write, args=(server.url, number, acknowledged, enough))
            for number in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        assert enough.wait(60)
        server.process.kill()
        server.process.wait()
        for writer in writers:
            writer.join()
    with mongo_server(tmp_path, engine=engine) as again:
        database = connect(again.url)
        kept = {document["_id"] for document in database["first"].find({})}
        torn = kept ^ {document["_id"] for document in database["second"].find({})}
        close(database)
    lost = set(acknowledged) - kept
    print(f"\n{engine}: {len(acknowledged)} acknowledged, {len(lost)} lost, {len(torn)} torn")
    assert lost == set()
    assert torn == set()


def _write(url: str, writer: int, acknowledged: list[str], enough: threading.Event) -> None:
    """Write pairs, each in one transaction, until the server is gone."""
    database = connect(f"{url}&serverSelectionTimeoutMS=500")
    number = 0
    try:
        while True:
            name, number = f"{writer}:{number}", number + 1
            with database.client.start_session() as session, session.start_transaction():
                for collection in ("first", "second"):
                    database[collection].insert_one({"_id": name}, session=session)
            acknowledged.append(name)
            if len(acknowledged) >= ENOUGH:
                enough.set()
    except PyMongoError:
        return
    finally:
        close(database)


@pytest.fixture
def url(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """A server of the engine."""
    with mongo_server(tmp_path, engine=engine) as server:
        yield server.url


@pytest.mark.parametrize("engine", INSTALLED)
def test_the_check_finds_what_an_engine_lacks(engine: Engine, url: str) -> None:
    found = examine(url, TlsFiles())
    missing = {finding.ability: finding.seen for finding in found.findings if finding.result is not Result.HOLDS}
    print(f"\n{engine}: {missing or 'nothing is missing'}")
    assert missing.keys() == LACKS[engine]
