"""The operator's commands against real servers, and against servers that are away: a table, or one sentence."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from pymongo.database import Database

from cli.main import COMMANDS, LazyGroup
from config.settings import load_settings
from core.bootstrap import Services, build_services
from core.clock import now
from core.ids import Prefix, random_id
from core.jobs.job import JobKind, NewJob
from core.storage import mongo
from core.storage.mongo import Document
from core.storage.scope import NamespaceScope
from core.tenancy.tenant import Organization
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import EventType
from tests.audit_log import configured, record
from tests.logs import logging_as_before
from tests.servers import own_database
from tests.unit.cli.test_main import operators_commands

_NOBODY = "127.0.0.1:9"
"""An address where nothing listens."""
_CHOICES = {"vault rotate": ["--kek"], "org delete": ["--yes"]}
_MADE_UP = {"--credits": "1", "--plan": "free", "--email": "a@example.com"}


@pytest.fixture(autouse=True)
def shell(
    database: Database[Document], mongo_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A shell whose settings name a deployment, and logging that is as it was afterwards."""
    key = configured("k1", 1).get_secret_value()
    given = {"DATA": str(tmp_path), "MONGO_URL": own_database(mongo_url, database.name), "REDIS_URL": redis_url}
    for name, value in {**given, **dict.fromkeys(("VAULT_KEYS", "KEY_PEPPERS", "AUDIT_KEYS"), key)}.items():
        monkeypatch.setenv(f"KEYSTAGE_{name}", value)
    monkeypatch.chdir(tmp_path)
    # a server that is away is given up soon
    monkeypatch.setitem(mongo._OPTIONS, "serverSelectionTimeoutMS", 200)
    with logging_as_before():
        yield


@pytest.fixture
def services(shell: None) -> Iterator[Services]:
    """The deployment."""
    services = build_services(load_settings())
    yield services
    services.close()


@pytest.fixture
def organization(services: Services) -> Organization:
    """One without anything."""
    return services.organizations.create("A", "a@example.com", "free")


def _run(*words: str) -> Result:
    return CliRunner().invoke(LazyGroup(COMMANDS, ""), words)


def _each_command(organization_id: str = "org_x") -> Iterator[list[str]]:
    """Every command of an operator, with something in place of what it must be given."""
    for words, command in operators_commands(LazyGroup(COMMANDS, "")):
        given = [*words.split(), *_CHOICES.get(words, [])]
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                given.append("made_up")
            elif parameter.required:
                name = parameter.opts[0]
                given += [name, organization_id if name == "--org" else _MADE_UP.get(name, "made-up")]
        yield given


_NEED_NO_DATABASE = ("settings", "doctor", "models")


@pytest.mark.parametrize("words", [each for each in _each_command() if each[0] not in _NEED_NO_DATABASE], ids=" ".join)
def test_a_database_that_is_away_is_one_sentence(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", f"mongodb://u:hidden@{_NOBODY}/keystage")
    done = _run(*words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.splitlines()[-1] == (
        f"Error: MongoDB does not answer: mongodb://u:***@{_NOBODY}/keystage (KEYSTAGE_MONGO_URL)"
    )


@pytest.mark.parametrize("words", [each for each in _each_command() if each[0] not in _NEED_NO_DATABASE], ids=" ".join)
def test_no_command_touches_a_database_that_is_not_to_be_trusted(
    words: list[str], mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own_database(mongo_url)
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", url)
    # the shortest way to one: no ability has this name
    monkeypatch.setenv("KEYSTAGE_DATABASE_SHORTFALLS", "nothing")
    done = _run(*words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.splitlines()[-1].startswith("Error: KEYSTAGE_DATABASE_SHORTFALLS: nothing is no ability's name")
    seen = mongo.connect(url)
    assert seen.list_collection_names() == []
    mongo.close(seen)


def test_the_doctor_names_what_is_away_and_settings_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", f"mongodb://{_NOBODY}/keystage")
    monkeypatch.setenv("KEYSTAGE_REDIS_URL", f"redis://{_NOBODY}/0")
    examined = _run("doctor", "--json", "--api-url", f"http://{_NOBODY}")
    assert examined.exit_code == 1
    failed = {row["check"] for row in json.loads(examined.stdout) if row["result"] == "fail"}
    assert {"api.health", "mongo.access", "redis.access", "processes", "keys.first"} <= failed
    shown = _run("settings", "--changed", "--json")
    assert shown.exit_code == 0
    assert {row["setting"] for row in json.loads(shown.stdout)} - {"KEYSTAGE_MONGO_COMMAND_LOG"} == {
        "KEYSTAGE_AUDIT_KEYS", "KEYSTAGE_DATA", "KEYSTAGE_KEY_PEPPERS", "KEYSTAGE_MONGO_URL", "KEYSTAGE_REDIS_URL",
        "KEYSTAGE_VAULT_KEYS",
    }  # fmt: skip


def test_redis_that_is_away_breaks_no_command(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_REDIS_URL", f"redis://{_NOBODY}/0")
    for words in _each_command(organization.organization_id):
        done = _run(*words)
        assert done.exception is None or isinstance(done.exception, SystemExit), (words, done.exception)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MONGO_URL", "mongodb://u:p@w@h/keystage", "MongoDB cannot be reached by this URL: "),
        ("MONGO_URL", "postgres://h/keystage", "KEYSTAGE_MONGO_URL: must begin with mongodb://"),
        ("KEK_PROVIDER", "transit", "KEYSTAGE_KEK_TRANSIT_URL is not set"),
        ("SECRETS_FROM", "safe", "KEYSTAGE_SECRETS_FROM: input should be 'vault', 'aws' or 'gcp'"),
    ],
)
def test_settings_that_lead_nowhere_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"KEYSTAGE_{name}", value)
    done = _run("org", "list")
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.splitlines()[-1].startswith(f"Error: {said}")


def test_a_fault_of_ours_is_not_taken_for_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("cli.operators.session.build_services", fail)
    assert isinstance(_run("org", "list").exception, ValueError)


def test_keys_that_are_missing_where_a_command_needs_them_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_AUDIT_KEYS", "")
    done = _run("org", "create", "--name", "A", "--email", "a@example.com")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("Error: KEYSTAGE_AUDIT_KEYS is not set")


def test_what_is_not_there_is_one_sentence(organization: Organization) -> None:
    named = ("--org", organization.organization_id)
    for words in (
        ("jobs", "list", "--org", "org_x"), ("jobs", "show", "task_x"), ("jobs", "retry", "task_x"),
        ("webhooks", "deliveries", "--org", "org_x"), ("webhooks", "replay", "dlv_x", *named),
        ("credits", "statement", "--org", "org_x"), ("credits", "reconcile", "--org", "org_x"),
        ("audit", "list", "--org", "org_x"), ("audit", "verify", "--org", "org_x"),
        ("audit", "export", "--org", "org_x"), ("org", "delete", "--org", "org_x", "--yes"),
        ("vault", "access", "--org", "org_x"), ("vault", "access", *named, "--secret", "s"),
        ("webhooks", "deliveries", *named, "--webhook", "wh_x"),
    ):  # fmt: skip
        done = _run(*words)
        assert done.exit_code == 1, words
        (said,) = done.stderr.splitlines()
        assert said.startswith("Error: "), words


def _deliver(database: Database[Document], scope: NamespaceScope, webhook_id: str, status: str, minutes: int) -> str:
    delivery_id = random_id(Prefix.DELIVERY)
    moment = now() - timedelta(minutes=minutes)
    tenant = {"internal_id": scope.internal_id, "namespace_id": scope.namespace_id}
    about = {"webhook_id": webhook_id, "event_id": random_id(Prefix.EVENT), "event_type": "resource.executed"}
    state = {"status": status, "attempts": 1, "replays": 0, "due_at": None, "last_error": None, "created_at": moment}
    database["deliveries"].insert_one({"_id": delivery_id, **tenant, **about, **state})
    return delivery_id


def test_undelivered_is_what_failed_and_what_was_blocked(
    services: Services, organization: Organization, database: Database[Document]
) -> None:
    scope = services.namespaces.create(organization.scope, "default").scope
    hook = EndpointSettings("hook", "https://example.com/hook", (EventType.RESOURCE_EXECUTED,))
    made = [services.webhooks.create(organization.scope, f"wh_{number:016x}", hook, None) for number in range(2)]
    states = ["failed", "blocked", "delivered", "pending", "cancelled"]
    for number, status in enumerate(states * 2):
        _deliver(database, scope, made[number % 2].webhook_id, status, number)
    listing = ("webhooks", "deliveries", "--org", organization.organization_id)
    found = json.loads(_run(*listing, "--status", "undelivered", "--json").stdout)
    assert [row["status"] for row in found] == ["failed", "blocked", "failed", "blocked"]
    cut = _run(*listing, "--status", "undelivered", "--limit", "3")
    assert cut.stdout.splitlines()[-1] == "3 of 4"
    assert _run(*listing, "--limit", "2").stdout.splitlines()[-1] == "2 of 10"
    assert " of " not in _run(*listing).stdout
    wrong = _run(*listing, "--status", "lost")
    assert wrong.exit_code == 2
    assert "undelivered" in wrong.stderr


def test_a_table_that_is_cut_says_of_how_many(services: Services, organization: Organization) -> None:
    named = ("--org", organization.organization_id)
    scope = services.namespaces.create(organization.scope, "default").scope
    for number in range(5):
        services.audit.append(organization.scope, record(number))
        services.ledger.grant(organization.scope, f"grant:{number}", 1000)
        services.jobs.create(scope, NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, {}, 0, "req"), f"hold{number}")
    cases: dict[tuple[str, ...], str] = {
        ("audit", "list", *named, "--limit", "2"): "2 of 5",
        ("credits", "statement", *named, "--last", "3"): "3 of 5",
        ("jobs", "list", *named, "--limit", "4"): "4 of 5",
        ("jobs", "list", *named, "--limit", "4", "--state", "queued"): "4 of 5",
        ("credits", "reconcile", *named, "--problems"): "0 of 1",
        ("audit", "verify", *named, "--problems"): "0 of 1",
    }
    for words, said in cases.items():
        assert _run(*words).stdout.splitlines()[-1] == said, words
    for words in (("audit", "list"), ("credits", "statement"), ("jobs", "list")):
        whole: Any = _run(*words, *named)
        assert " of 5" not in whole.stdout
        assert len(json.loads(_run(*words, *named, "--json").stdout)) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("org", "create", "--name", " ", "--email", "a@example.com"), "'--name': it may not be empty"),
        (("org", "create", "--name", "A", "--email", "nonsense"), "'--email': it reads name@example.com"),
        (("org", "key", "--org", "o", "--name", "k", "--email", "a b@c"), "'--email': it reads name@example.com"),
        (
            ("org", "create", "--name", "A", "--email", "a@example.com", "--plan", "gold"),
            "there is no plan 'gold': choose one of free, pro, team, build, scale, enterprise",
        ),
        (("org", "create", "--name", "A", "--email", "a@example.com", "--credits", "10" * 20), "is not in the range"),
        (("credits", "grant", "--org", "o", "--credits", "1" + "0" * 20, "--reference", "r"), "is not in the range"),
        (("doctor", "--api-url", "api.example.com"), "'--api-url': must begin with http:// or https://"),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_is_done(
    words: tuple[str, ...], said: str, database: Database[Document]
) -> None:
    done = _run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert database["organizations"].count_documents({}) == 0


def test_a_table_shows_what_it_is_given_as_it_is(services: Services) -> None:
    services.organizations.create("[bold]A[/x]", "a@example.com", "free")
    shown = _run("org", "list")
    assert shown.exit_code == 0, shown.exception
    assert "[bold]A[/x]" in shown.stdout


def test_an_empty_list_says_so(services: Services) -> None:
    assert _run("org", "list").stdout == "nothing found\n"
    assert _run("org", "list", "--json").stdout == "[]\n"
