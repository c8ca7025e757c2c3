"""`keystage audit` against real servers: what it prints, and its exit code when a log was edited."""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click import Group
from click.testing import CliRunner, Result
from pymongo.database import Database

from cli.operators.audit import audit
from cli.operators.credits import credits
from cli.operators.jobs import jobs
from cli.operators.organizations import org
from config.settings import Settings
from core.audit.checkpoint import Signer
from core.audit.pages import LogFilter
from core.bootstrap import Services, build_services
from core.ids import Prefix, random_id
from core.jobs.job import JobKind, NewJob
from core.storage.mongo import Document
from core.storage.paging import PageRequest
from core.storage.scope import NamespaceScope
from core.tenancy.tenant import Organization
from tests.audit_log import configured, record
from tests.servers import own_database
from workers.sweeper import Sweeper


@pytest.fixture
def services(
    database: Database[Document], mongo_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    """A deployment, which the commands find by their environment. The sweeper alone has the signing key."""
    key, signing_key = configured("k1", 1), configured("s1", 7)
    url = own_database(mongo_url, database.name)
    given = {
        "DATA": str(tmp_path),
        "MONGO_URL": url,
        "REDIS_URL": redis_url,
        "AUDIT_VERIFY_KEYS": Signer(signing_key).public_key,
        **dict.fromkeys(("VAULT_KEYS", "KEY_PEPPERS", "AUDIT_KEYS"), key.get_secret_value()),
    }
    for name, value in given.items():
        monkeypatch.setenv(f"KEYSTAGE_{name}", value)
    services = build_services(Settings(_env_file=None, audit_signing_key=signing_key))
    # the commands run in this process, and set up its logging
    root = logging.getLogger()
    before = (root.handlers, root.level, sys.excepthook, threading.excepthook)
    yield services
    root.handlers, root.level, sys.excepthook, threading.excepthook = before
    logging.captureWarnings(False)
    structlog.reset_defaults()
    services.close()


@pytest.fixture
def organization(services: Services) -> Organization:
    """One with four entries and a checkpoint."""
    made = services.organizations.create("A", "a@example.com", "free")
    for number in range(4):
        services.audit.append(made.scope, record(number))
    assert Sweeper(services).sign_audit_logs() == 1
    return made


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(audit, arguments)


def test_an_untouched_log_is_verified(organization: Organization) -> None:
    done = _run("verify", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == [
        {
            "organization_id": organization.organization_id,
            "entries": 4,
            "checkpoints": 1,
            "signed_until": 4,
            "findings": [],
        }
    ]


def test_an_edit_ends_the_command_with_1_and_says_where(
    organization: Organization, database: Database[Document]
) -> None:
    database["audit"].update_one({"internal_id": organization.internal_id, "seq": 3}, {"$set": {"actor_id": "key_x"}})
    done = _run("verify")
    assert done.exit_code == 1
    assert f"{organization.organization_id}: entry 3: the entry is not what was written" in done.stdout
    assert organization.internal_id not in done.stdout
    assert _run("verify", "--org", organization.organization_id).exit_code == 1


def test_an_organization_that_was_removed_is_noticed(organization: Organization, database: Database[Document]) -> None:
    for name in ("organizations", "audit", "audit_heads", "audit_checkpoints"):
        database[name].delete_many({"internal_id": organization.internal_id})
    done = _run("verify", "--json")
    assert done.exit_code == 1
    assert [row["organization_id"] for row in json.loads(done.stdout)] == [organization.organization_id]


def test_entries_are_listed_and_exported_without_the_internal_id(organization: Organization) -> None:
    listed = _run("list", "--org", organization.organization_id, "--limit", "2", "--json")
    assert [row["seq"] for row in json.loads(listed.stdout)] == [4, 3]
    exported = _run("export", "--org", organization.organization_id)
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert [line["prev_mac"] for line in lines[1:]] == [line["mac"] for line in lines[:-1]]
    assert organization.internal_id not in listed.stdout + exported.stdout


def test_what_a_command_logs_goes_to_stderr_as_lines_and_leaves_its_answer_alone(
    organization: Organization, database: Database[Document]
) -> None:
    database["audit_heads"].delete_many({"internal_id": organization.internal_id})
    named = ("--org", organization.organization_id, "--credits", "5", "--reference", "gift")
    done = CliRunner().invoke(credits, ["grant", *named])
    assert isinstance(json.loads(done.stdout), dict)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert ("audit.head_not_genuine", "operator") in {(line["event"], line["process"]) for line in lines}


def test_what_the_operator_does_is_in_the_organizations_log(services: Services) -> None:
    def run(group: Group, *arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(group, arguments)
        assert done.exit_code == 0, done.output
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown

    made = run(org, "create", "--name", "B", "--email", "b@example.com", "--credits", "0")
    named = ("--org", made["organization_id"])
    run(org, "key", *named, "--email", "c@example.com", "--name", "spare")
    run(credits, "grant", *named, "--credits", "5", "--reference", "gift")
    scope = services.organizations.find(made["organization_id"]).scope
    job = NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, {"retriever_id": "ret_1"}, 0, "req_1")
    services.submission.submit(NamespaceScope(scope.internal_id, made["namespace_id"]), job)
    services.submission.cancel(scope, job.job_id)
    services.handles.organization(scope)["jobs"].update_one({"_id": job.job_id}, {"$set": {"state": "cancelled"}})
    run(jobs, "retry", job.job_id)
    entries = services.audit.page(scope, LogFilter(), PageRequest(100)).records
    assert {entry.actor_type for entry in entries} == {"operator"}
    assert [(entry.action, entry.status) for entry in reversed(entries)] == [
        ("organization_created", "success"),
        ("api_key_created", "attempted"),
        ("api_key_created", "success"),
        ("user_created", "attempted"),
        ("user_created", "success"),
        ("api_key_created", "attempted"),
        ("api_key_created", "success"),
        ("credits_granted", "attempted"),
        ("credits_granted", "success"),
        ("task_retried", "attempted"),
        ("task_retried", "success"),
    ]
    assert made["api_key"] not in str(entries)


def test_no_organization_is_left_out_however_many_there_are(
    services: Services, database: Database[Document], organization: Organization
) -> None:
    whole = database["organizations"].find_one({"_id": organization.internal_id})
    assert whole
    ids = [(random_id(Prefix.INTERNAL), random_id(Prefix.ORGANIZATION)) for _ in range(1_000)]
    database["organizations"].insert_many(
        {**whole, "_id": internal_id, "internal_id": internal_id, "organization_id": public_id}
        for internal_id, public_id in ids
    )
    assert len(services.organizations.list()) == 1_001
