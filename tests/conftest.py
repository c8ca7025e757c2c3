"""Fixtures that every suite may use: one database server and one Redis for a whole run, a fresh database per test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pymongo.database import Database

from core.ids import Prefix, random_id
from core.storage import command_log as command_log_module
from core.storage.command_log import log_commands
from core.storage.handles import Handles
from core.storage.mongo import Document, connect
from core.storage.schema import create_schema
from core.storage.scope import NamespaceScope
from tests.command_oracle import OwnCommandLog, logged, unchecked_forms, violations
from tests.servers import memory_directory, mongo_server, own_database, redis_server

# A slow machine finds no fault in the code: what an example may take is nobody's promise.
settings.register_profile("keystage", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("keystage")


@pytest.fixture(scope="session", autouse=True)
def command_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where our code's MongoDB commands are noted. The run fails at its end when one stepped outside its tenant, or has
    a form that `keystage doctor --database` does not check.
    """
    directory = tmp_path_factory.mktemp("commands")
    os.environ["KEYSTAGE_MONGO_COMMAND_LOG"] = str(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_log_module, "CommandLog", OwnCommandLog)
        log_commands(directory)
    yield directory
    outside = violations(directory)
    if not (judged := len(logged(directory))):
        return
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nshapes of MongoDB commands: {judged}, outside their tenant: {len(outside)}")
    unchecked = unchecked_forms(directory)
    assert not unchecked, f"forms without an example in core/storage/abilities/forms.py: {sorted(unchecked)}"
    assert not outside, "commands outside their tenant:\n" + "\n".join(map(str, outside))


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    """A MongoDB-wire server."""
    with memory_directory() as directory, mongo_server(directory) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server."""
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as server:
        yield server.url


@pytest.fixture
def database(mongo_url: str) -> Iterator[Database[Document]]:
    """A database of this test's own, with the whole schema."""
    own_url = own_database(mongo_url)
    database = connect(own_url)
    create_schema(database)
    yield database
    database.client.close()


@pytest.fixture
def handles(database: Database[Document]) -> Handles:
    """Database handles on the test's own database."""
    return Handles(database)


@pytest.fixture
def scope() -> NamespaceScope:
    """A namespace of a tenant that nobody else uses."""
    return NamespaceScope(random_id(Prefix.INTERNAL), random_id(Prefix.NAMESPACE))
