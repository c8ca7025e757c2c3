"""The lexical index of an earlier release on real Ray: asked in both forms, and rebuilt by a worker that is killed."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from click.testing import CliRunner, Result
from qdrant_edge import Bm25

from api.app import build_app
from cli.operators.index import index
from config.settings import Settings
from core.bootstrap import Services, build_services
from core.ids import point_id
from core.jobs.job import Job, JobKind, JobState
from core.storage.vectors.bm25 import document_vector, query_vector
from core.storage.vectors.filters import Equals
from core.storage.vectors.store import DenseVector, Point, SparseVector, TextVector, VectorSearch
from core.tenancy.permissions import Permission
from core.words import FIRST_FORM, INDEX_FORM
from pipelines.cluster import RAY_NAMESPACE, VECTORS_ACTOR
from pipelines.runner import Runner
from pipelines.vectors_actor import VectorsProxy
from tests.integration.bodies import corpus, retriever_body
from tests.integration.conftest import Tenant
from tests.ray_cluster import ray_head
from tests.servers import own_database
from tests.tenants import new_key
from workers.drive_job import Executor, JobDriver
from workers.execution import RetrieverExecutor
from workers.index_rebuild import IndexRebuildExecutor
from workers.watch import LeaseWatch

ROOT = Path(__file__).parents[2]
KEY = "k1:" + "A" * 43
DIMENSION = 384
POINTS = 700
"""More than one page."""
TEXTS = {0: "Die Straße ist lang", 1: "東京都の天気予報", 2: "Cafe\u0301 Müller", POINTS - 1: "The ﬁle of the oﬃce"}
"""Some of them have words that the first form spells otherwise."""


@dataclass
class Stack:
    """A worker on real Ray, its environment, and the vectors behind it."""

    services: Services
    driver: JobDriver
    environment: Mapping[str, str]

    @property
    def vectors(self) -> VectorsProxy:
        """The owner of all vectors."""
        import ray

        return VectorsProxy(ray.get_actor(VECTORS_ACTOR, RAY_NAMESPACE), "test")

    def drive(self, tenant: Tenant, job_id: str) -> Job:
        """Drive a job to its end, whoever held its lease."""
        tenant.services.handles.namespace(tenant.scope)["jobs"].update_one(
            {"_id": job_id, "due_at": {"$gt": tenant.services.clock.now()}}, [{"$set": {"due_at": "$$NOW"}}]
        )
        self.driver.drive(job_id)
        return tenant.services.jobs.get(tenant.scope, job_id)

    def command(self, *arguments: str) -> Result:
        """`keystage index …`, while a worker is at hand."""
        done = threading.Event()
        worker = threading.Thread(target=self._work_until, args=[done])
        worker.start()
        try:
            return CliRunner().invoke(index, list(arguments))
        finally:
            done.set()
            worker.join()

    def _work_until(self, done: threading.Event) -> None:
        while not done.wait(0.1):
            for due in self.services.queue.due(10):
                self.driver.drive(due.job_id)


@pytest.fixture(scope="module")
def stack(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ray_head() as head:
        environment = {
            "KEYSTAGE_DATA": str(tmp_path_factory.mktemp("rebuild")),
            "KEYSTAGE_MONGO_URL": own_database(mongo_url),
            "KEYSTAGE_REDIS_URL": redis_url,
            "KEYSTAGE_RAY_ADDRESS": head.address,
            "KEYSTAGE_RAY_AUTH_TOKEN": head.token,
            **dict.fromkeys(("KEYSTAGE_VAULT_KEYS", "KEYSTAGE_KEY_PEPPERS", "KEYSTAGE_AUDIT_KEYS"), KEY),
            "KEYSTAGE_STAGE_ACTORS": "1",
            "KEYSTAGE_JOB_LEASE_SECONDS": "1",
            "PYTHONPATH": str(ROOT),
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            settings = Settings(_env_file=None)
            services, runner = build_services(settings), Runner(settings)
            runner.attach()
            executors: dict[JobKind, Executor] = {
                JobKind.RETRIEVER: RetrieverExecutor(services, runner),
                JobKind.INDEX_REBUILD: IndexRebuildExecutor(services, runner),
            }
            # the commands run in this process, and set up its logging
            root = logging.getLogger()
            before = (root.handlers, root.level, sys.excepthook, threading.excepthook)
            yield Stack(services, JobDriver(services, LeaseWatch(1), executors), environment)
            root.handlers, root.level, sys.excepthook, threading.excepthook = before
            logging.captureWarnings(False)
            structlog.reset_defaults()
            services.close()


@pytest.fixture
def old(stack: Stack) -> Tenant:
    """A tenant whose namespace was filled by an earlier release."""
    services = stack.services
    organization = services.organizations.create("Old", "owner@example.com", "enterprise")
    services.ledger.grant(organization.scope, "grant:start", 1_000_000)
    namespace = services.namespaces.create(organization.scope, "default")
    # records of then say nothing of a form
    services.handles.organization(organization.scope)["namespaces"].update_one(
        {"_id": namespace.namespace_id}, {"$unset": {"index_form": ""}}
    )
    key = new_key(services, organization.scope, Permission.ADMIN, "test").text
    headers = {"Authorization": f"Bearer {key}", "X-Namespace": namespace.namespace_id}
    client = build_app(services).test_client()
    tenant = Tenant(client, services, namespace.scope, organization.organization_id, key, headers)
    collection_id = corpus(tenant)["collection_id"]
    texts = [TEXTS.get(number, f"filler {number}") for number in range(POINTS)]
    points = [_point(tenant, collection_id, number, text, _first_form(text)) for number, text in enumerate(texts)]
    stack.vectors.ensure(tenant.scope.namespace_id, DIMENSION)
    stack.vectors.upsert(tenant.scope.namespace_id, points)
    tenant.created("/v1/retrievers", retriever_body(stages=[_LEXICAL], collection_identifiers=[collection_id]))
    return tenant


_LEXICAL = {
    "stage_id": "feature_search",
    "parameters": {
        "searches": [
            {
                "feature_uri": "mixpeek://text_extractor@v1/text_embedding",
                "query": "{{INPUT.query}}",
                "lexical": True,
                "top_k": 50,
            }
        ]
    },
}


def _first_form(text: str) -> SparseVector:
    """As the earlier release wrote it."""
    vector = Bm25().embed_document(text)
    return SparseVector(tuple(vector.indices), tuple(vector.values))


def _point(tenant: Tenant, collection_id: str, number: int, text: str, sparse: SparseVector) -> Point:
    namespace_id = tenant.scope.namespace_id
    payload = {
        "namespace_id": namespace_id,
        "collection_id": collection_id,
        "document_id": f"doc_{number}",
        "text": text,
        "number": number,
    }
    return Point(point_id(namespace_id, number), _dense(number), sparse, payload)


def _dense(number: int) -> DenseVector:
    vector: DenseVector = np.random.default_rng(number).normal(size=DIMENSION).astype(np.float32)
    return vector


def _ask(stack: Stack, tenant: Tenant, query: str) -> set[int]:
    """The numbers of the documents that an execution finds."""
    return {document["number"] for document in _executed(stack, tenant, query)["documents"]}


def _form(tenant: Tenant) -> int:
    namespace = tenant.services.namespaces.find(tenant.scope.namespace_id)
    assert namespace is not None
    return namespace.index_form


def test_an_old_index_is_asked_in_both_forms_until_the_command_has_rebuilt_it(stack: Stack, old: Tenant) -> None:
    namespace_id = old.scope.namespace_id
    new = "Eine STRASSE mit ﬁlm"
    (first,), _ = stack.vectors.read_on(namespace_id, None, 1)
    collection_id = first.payload["collection_id"]
    stack.vectors.upsert(namespace_id, [_point(old, collection_id, 9000, new, document_vector(new))])
    dense = VectorSearch(_dense(1), 5)
    before = stack.vectors.search(namespace_id, [dense], 5)
    assert _form(old) == FIRST_FORM
    # the old one is found by its own spelling, the new one by any
    assert _ask(stack, old, "Straße") == {0, 9000}
    assert _ask(stack, old, "film") == {9000}
    assert _ask(stack, old, "file") == set()
    status = json.loads(stack.command("status", "--namespace", namespace_id, "--json").stdout)
    assert [(row["namespace_id"], row["index"]) for row in status] == [(namespace_id, "old")]

    result = stack.command("rebuild", "--namespace", namespace_id, "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["state"], row["documents"]) == ("succeeded", POINTS + 1)
    assert f"{namespace_id}: " in result.stderr
    assert _form(old) == INDEX_FORM
    assert _ask(stack, old, "strasse") == {0, 9000}
    assert _ask(stack, old, "file") == {POINTS - 1}
    assert _ask(stack, old, "天気") == {1}
    assert _ask(stack, old, "CAFÉ") == {2}
    assert stack.vectors.search(namespace_id, [dense], 5) == before

    again = stack.command("rebuild", "--org", old.organization_id, "--json")
    assert [row["state"] for row in json.loads(again.stdout)] == ["current"]


def test_a_rebuilding_that_is_killed_goes_on_where_it_was(stack: Stack, old: Tenant) -> None:
    namespace_id, services = old.scope.namespace_id, stack.services
    job = services.index_rebuilds.begin(old.scope, "req_1")
    killed = subprocess.run(
        [sys.executable, "-m", "tests.integration.killed_rebuilder", job.job_id],
        env={**os.environ, **stack.environment},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    between = services.index_rebuilds.under_way(old.scope)
    assert between is not None
    assert 0 < between.points < POINTS
    assert _form(old) == FIRST_FORM
    assert services.index_rebuilds.begin(old.scope, "req_2").job_id == job.job_id, "one at a time"
    task = old.get(f"/v1/tasks/{job.job_id}").get_json()
    # one of the types that the published client knows
    assert (task["task_type"], task["status"]) == ("api_namespaces_migrations_run", "PROCESSING")
    assert task["additional_data"]["progress"] == {"points": between.points}

    # what the first part gets now stays: it is not done again
    (first,), _ = stack.vectors.read_on(namespace_id, None, 1)
    witness = TextVector(first.id, first.payload["text"], document_vector("witness"))
    stack.vectors.replace_sparse(namespace_id, [witness])
    # and what goes meanwhile does not come back
    gone = next(hit for hit in stack.vectors.read_on(namespace_id, between.following, 9)[0] if hit.id != first.id)
    stack.vectors.delete(namespace_id, Equals("document_id", gone.payload["document_id"]))
    ended = stack.drive(old, job.job_id)

    assert ended.state is JobState.SUCCEEDED
    assert ended.decision is not None
    assert ended.decision.result == {"points": POINTS - 1}
    assert _form(old) == INDEX_FORM
    assert services.index_rebuilds.under_way(old.scope) is None
    found = stack.vectors.search(namespace_id, [VectorSearch(query_vector("witness"), 9)], 9)
    assert [hit.id for hit in found] == [first.id]
    everything, _ = stack.vectors.read_on(namespace_id, None, POINTS + 9)
    assert len(everything) == POINTS - 1
    assert gone.id not in {hit.id for hit in everything}
    lost = {number for number in TEXTS if number in (first.payload["number"], gone.payload["number"])}
    assert _ask(stack, old, "strasse 天気 café file") == TEXTS.keys() - lost


def test_a_rebuilding_that_ended_early_is_taken_up_by_the_next(stack: Stack, old: Tenant) -> None:
    services = stack.services
    first = services.index_rebuilds.begin(old.scope, "req_1")
    services.submission.cancel(old.scope, first.job_id)
    assert stack.drive(old, first.job_id).state is JobState.CANCELLED
    assert _form(old) == FIRST_FORM
    result = stack.command("rebuild", "--org", old.organization_id, "--namespace", "default", "--json")
    (row,) = json.loads(result.stdout)
    assert (row["state"], row["documents"]) == ("succeeded", POINTS)
    assert row["job_id"] != first.job_id


def test_the_answer_of_an_execution_says_what_of_it_did_not_count(stack: Stack, old: Tenant) -> None:
    shown = _executed(stack, old, "the of")
    warning = "searches[0] (by words) found nothing: its query has no words but stop words, such as 'the' and 'of'."
    assert (shown["status"], shown["documents"]) == ("completed", [])
    assert shown["warnings"] == [f"feature_search: {warning}"]
    assert shown["stage_statistics"]["stages"]["feature_search"]["warnings"] == [warning]
    assert "warnings" not in _executed(stack, old, "filler")


def _executed(stack: Stack, tenant: Tenant, query: str) -> dict[str, Any]:
    """The published answer of an execution."""
    body = {"inputs": {"query": query}}
    task = tenant.post("/v1/retrievers/answers/execute", body, Prefer="respond-async").get_json()["task_id"]
    stack.drive(tenant, task)
    execution_id = tenant.get(f"/v1/tasks/{task}").get_json()["additional_data"]["execution_id"]
    shown: dict[str, Any] = tenant.get(f"/v1/retrievers/answers/executions/{execution_id}").get_json()
    return shown


def test_what_is_not_there_is_said(stack: Stack) -> None:
    absent = stack.command("rebuild", "--namespace", "default")
    assert absent.exit_code == 1
    assert "There is no namespace with the id default; its name is enough beside --org." in absent.stderr


def test_a_new_namespace_has_the_form_of_this_release(stack: Stack) -> None:
    organization: Any = stack.services.organizations.create("New", "owner@example.com", "enterprise")
    assert stack.services.namespaces.create(organization.scope, "default").index_form == INDEX_FORM
