"""A retriever that asks models, from its request to its charge: API, worker, a real Ray cluster, a local provider."""

import base64
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from api.app import build_app
from config.settings import Settings
from core.bootstrap import Services, build_services
from core.credits.prices import EXECUTION_MINIMUM, ModelClass, llm_price
from core.ids import Prefix, random_id
from core.jobs.job import Job, JobKind, JobState
from core.language_models.catalogue import catalogue
from core.retrievers.estimate import llm_hold
from core.tenancy.permissions import Permission
from pipelines.runner import Runner
from tests.integration.conftest import Tenant
from tests.llm_provider import INPUT_TOKENS, OUTPUT_TOKENS, Asked, LlmServer, Reply, llm_server
from tests.ray_cluster import ray_head
from tests.security_page import LLM_STAGE
from tests.servers import own_database
from tests.tenants import new_key
from workers.drive_job import JobDriver
from workers.execution import RetrieverExecutor
from workers.ingestion import IngestionExecutor
from workers.watch import LeaseWatch

KEY = SecretStr("k1:" + base64.urlsafe_b64encode(bytes(32)).decode())
PLATFORM_KEY = "platform-key-marked"
ENRICH = {"stage_id": "llm_enrich", "parameters": {"prompt": "Summarize: {{ DOC.text }}"}}
HANGING_ENRICH = {"stage_id": "llm_enrich", "parameters": {"prompt": "hang"}}
HANGING_EXPANSION = {
    "stage_id": "query_expand",
    "parameters": {
        "feature_search_config": {
            "searches": [{"feature_uri": "mixpeek://text_extractor@v1/text_embedding", "query": "hang"}]
        }
    },
}
OWN_MODELS = {"house-1": {"provider": "openai", "successor": "house-2"}, "house-2": {"provider": "openai"}}
NOTES = 3
_PATIENCE_SECONDS = 30.0


@dataclass
class Stack:
    """A tenant with a collection of notes, what drives its jobs, and the provider they ask."""

    tenant: Tenant
    driver: JobDriver
    server: LlmServer
    collection_id: str

    def submit(self, *stages: dict[str, Any]) -> str:
        """Make a retriever of these stages and submit one execution of it; its task id."""
        body = {
            "retriever_name": random_id(Prefix.REQUEST),
            "stages": list(stages),
            "collection_identifiers": [self.collection_id],
        }
        retriever = self.tenant.created("/v1/retrievers", body)["retriever_id"]
        answer = self.tenant.post(f"/v1/retrievers/{retriever}/execute", {"inputs": {}}, Prefer="respond-async")
        return str(answer.get_json()["task_id"])

    def execute(self, *stages: dict[str, Any]) -> Job:
        """Drive one execution of these stages to its end."""
        task = self.submit(*stages)
        self.driver.drive(task)
        return self.tenant.services.jobs.get(self.tenant.scope, task)

    def shown(self, job: Job) -> dict[str, Any]:
        """The execution as the API shows it."""
        path = f"/v1/retrievers/{job.spec['retriever_id']}/executions/{job.spec['execution_id']}"
        body: dict[str, Any] = self.tenant.get(path).get_json()
        return body


@pytest.fixture(scope="module")
def stack(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, once."""
    with ray_head() as head, llm_server() as server:
        settings = Settings(
            _env_file=None,
            data=Path(tmp_path_factory.mktemp("llm")),
            mongo_url=own_database(mongo_url),
            redis_url=redis_url,
            ray_address=head.address,
            ray_auth_token=head.token,
            vault_keys=(KEY,),
            key_peppers=(KEY,),
            audit_keys=(KEY,),
            stage_actors=1,
            openai_base_url=server.base_url("openai"),
            openai_api_key=SecretStr(PLATFORM_KEY),
            models=OWN_MODELS,
        )
        services = build_services(settings)
        runner = Runner(settings)
        watch = LeaseWatch(settings.job_lease_seconds)
        watch.start()
        driver = JobDriver(
            services,
            watch,
            {
                JobKind.RETRIEVER: RetrieverExecutor(services, runner),
                JobKind.INGESTION: IngestionExecutor(services, runner),
            },
        )
        tenant = _tenant(services)
        yield Stack(tenant, driver, server, _notes(tenant, driver))
        watch.shut_down()
        services.close()


@pytest.fixture(autouse=True)
def _fresh(stack: Stack) -> None:
    stack.server.asked.clear()


def test_the_platforms_key_is_used_and_its_tokens_are_charged(stack: Stack) -> None:
    before = stack.tenant.services.ledger.balance(stack.tenant.scope)
    job = stack.execute(ENRICH)
    tokens = llm_price(ModelClass.SMALL, INPUT_TOKENS + OUTPUT_TOKENS)
    assert job.decision
    assert (job.state, job.decision.charge) == (JobState.SUCCEEDED, EXECUTION_MINIMUM + NOTES * tokens)
    stages = [{"config": {"stage_id": ENRICH["stage_id"], "parameters": ENRICH["parameters"]}}]
    assert job.hold == EXECUTION_MINIMUM + llm_hold(stages, job.spec["limit"], (), {}, catalogue(), NOTES)
    after = stack.tenant.services.ledger.balance(stack.tenant.scope)
    assert (before.posted - after.posted, after.held) == (job.decision.charge, 0)
    assert [asked.auth for asked in stack.server.asked] == [{"authorization": f"Bearer {PLATFORM_KEY}"}] * NOTES
    shown = stack.shown(job)
    assert [document["summary"] for document in shown["documents"]] == ["an answer"] * NOTES
    statistics = shown["stage_statistics"]["stages"]["llm_enrich"]
    assert (statistics["llm_calls"], statistics["tokens_used"]) == (NOTES, NOTES * (INPUT_TOKENS + OUTPUT_TOKENS))
    assert PLATFORM_KEY not in str(shown)


def test_an_answer_says_which_model_was_asked_and_an_operators_entries_reach_the_stages(stack: Stack) -> None:
    body = {
        "retriever_name": random_id(Prefix.REQUEST),
        "stages": [
            {"stage_id": "llm_enrich", "parameters": {"prompt": "x", "model": model}}
            for model in ("house-1", "gpt-4o", "gemini-1.5-pro", "house-2", "nobodys")
        ],
    }
    made = stack.tenant.created("/v1/retrievers", body)
    assert made["warnings"] == [
        "stages.0: openai serves house-1 no more: house-2 is asked in its place.",
        "stages.1: openai serves gpt-4o until 2027-01-14: gpt-6-luna is asked from then on.",
        "stages.2: google serves gemini-1.5-pro no more: gemini-3.8-flash is asked in its place.",
    ]
    stage = {"stage_id": "llm_enrich", "parameters": {"prompt": "x", "model": "house-1"}}
    shown = stack.shown(stack.execute(stage))
    statistics = shown["stage_statistics"]["stages"]["llm_enrich"]
    assert (statistics["requested_model"], statistics["asked_model"]) == ("house-1", "house-2")
    assert shown["warnings"] == ["llm_enrich: house-2 was asked in place of house-1."]
    assert [asked.body["model"] for asked in stack.server.asked] == ["house-2"] * NOTES


def test_only_what_can_be_shown_is_held_for_and_asked_about(stack: Stack) -> None:
    everything = {"stage_id": "attribute_filter", "parameters": {"field": "text", "operator": "exists", "value": True}}
    body = {
        "retriever_name": random_id(Prefix.REQUEST),
        "stages": [everything, ENRICH],
        "collection_identifiers": [stack.collection_id],
    }
    retriever = stack.tenant.created("/v1/retrievers", body)["retriever_id"]
    path = f"/v1/retrievers/{retriever}/execute"
    task = stack.tenant.post(path, {"inputs": {}, "limit": 1}, Prefer="respond-async").get_json()["task_id"]
    stack.driver.drive(task)
    job = stack.tenant.services.jobs.get(stack.tenant.scope, task)
    assert job.hold == EXECUTION_MINIMUM + llm_hold([{"config": ENRICH}], 1, (), {}, catalogue())
    assert job.state is JobState.SUCCEEDED
    [document] = stack.shown(job)["documents"]
    assert (document["summary"], len(stack.server.asked)) == ("an answer", 1)


def test_documents_are_counted_where_all_of_them_may_be_asked_about(stack: Stack) -> None:
    everything = {"stage_id": "attribute_filter", "parameters": {"field": "text", "operator": "exists", "value": True}}
    keeps = {"stage_id": "llm_filter", "parameters": {"criteria": "anything"}}
    stack.server.default, usual = (lambda _: Reply('{"keep": true}')), stack.server.default
    try:
        job = stack.execute(everything, keeps)
    finally:
        stack.server.default = usual
    stages = [{"config": everything}, {"config": keeps}]
    one = llm_hold(stages, 100, (), {}, catalogue(), 1)
    assert (job.spec["most_found"], job.hold) == (NOTES, EXECUTION_MINIMUM + NOTES * one)
    assert (job.state, len(stack.shown(job)["documents"])) == (JobState.SUCCEEDED, NOTES)


def test_an_execution_that_fails_after_it_asked_is_charged_for_the_models_alone(stack: Stack) -> None:
    before = stack.tenant.services.ledger.balance(stack.tenant.scope)
    fails = {"stage_id": "json_transform", "parameters": {"template": "{{ DOC.missing }}", "fail_on_error": True}}
    job = stack.execute(ENRICH, fails)
    assert job.decision
    assert job.decision.error
    assert (job.state, job.decision.error.code) == (JobState.FAILED, "stage_failed")
    assert job.decision.charge == NOTES * llm_price(ModelClass.SMALL, INPUT_TOKENS + OUTPUT_TOKENS)
    after = stack.tenant.services.ledger.balance(stack.tenant.scope)
    assert (before.posted - after.posted, after.held) == (job.decision.charge, 0)


@pytest.mark.parametrize("hanging", [HANGING_ENRICH, HANGING_EXPANSION], ids=["llm_enrich", "query_expand"])
def test_an_execution_that_is_cancelled_after_it_asked_is_charged_for_the_answers_it_had(
    stack: Stack, hanging: dict[str, Any]
) -> None:
    before = stack.tenant.services.ledger.balance(stack.tenant.scope)
    hangs, let_go = threading.Event(), threading.Event()

    def answer(asked: Asked) -> Reply:
        if "hang" in asked.prompt:
            hangs.set()
            let_go.wait(_PATIENCE_SECONDS)
        return Reply("an answer")

    stack.server.default, usual = answer, stack.server.default
    try:
        task = stack.submit(ENRICH, hanging)
        driving = threading.Thread(target=stack.driver.drive, args=(task,))
        driving.start()
        assert hangs.wait(_PATIENCE_SECONDS)
        assert stack.tenant.call("DELETE", f"/v1/tasks/{task}").status_code == 200
        driving.join(_PATIENCE_SECONDS)
    finally:
        let_go.set()
        stack.server.default = usual
    job = stack.tenant.services.jobs.get(stack.tenant.scope, task)
    assert job.decision
    tokens = llm_price(ModelClass.SMALL, INPUT_TOKENS + OUTPUT_TOKENS)
    assert (job.state, job.decision.charge) == (JobState.CANCELLED, NOTES * tokens)
    after = stack.tenant.services.ledger.balance(stack.tenant.scope)
    assert (before.posted - after.posted, after.held) == (job.decision.charge, 0)


def test_the_seed_page_without_its_secret_fails_free_of_charge_and_asks_nobody(stack: Stack) -> None:
    job = stack.execute(LLM_STAGE)
    assert job.decision
    assert job.decision.error
    assert (job.state, job.decision.error.code, job.decision.charge) == (JobState.FAILED, "secret_missing", 0)
    assert job.hold == EXECUTION_MINIMUM
    assert stack.server.asked == []


def test_an_organization_that_pays_itself_is_never_charged_for_the_platforms_key(stack: Stack) -> None:
    tenant = stack.tenant
    changed = tenant.call("PATCH", "/v1/organizations", {"default_llm_credentials": {"openai": "mine"}})
    assert changed.status_code == 200
    try:
        job = stack.execute(ENRICH)
    finally:
        tenant.call("PATCH", "/v1/organizations", {"default_llm_credentials": None})
    # nothing was held for models, the secret does not exist, and the platform's key never stands in for it
    assert job.decision
    assert job.decision.error
    assert (job.state, job.decision.error.code) == (JobState.FAILED, "secret_missing")
    assert (job.hold, job.decision.charge) == (EXECUTION_MINIMUM, 0)
    assert stack.server.asked == []


def test_who_has_not_the_credits_for_the_models_is_told_before_anything_runs(stack: Stack) -> None:
    poor = _tenant(stack.tenant.services, credits=EXECUTION_MINIMUM + 1)
    body = {"retriever_name": "r", "stages": [ENRICH], "collection_identifiers": []}
    retriever = poor.created("/v1/retrievers", body)["retriever_id"]
    answer = poor.post(f"/v1/retrievers/{retriever}/execute", {"inputs": {}})
    assert answer.status_code == 403
    assert answer.get_json()["error"]["code"] == "insufficient_credits"
    assert stack.server.asked == []


def test_a_key_in_clear_is_refused_with_its_path_and_not_repeated(stack: Stack) -> None:
    stage = {"stage_id": "llm_enrich", "parameters": {"prompt": "x", "api_key": "sk-proj-in-clear"}}
    answer = stack.tenant.post("/v1/retrievers", {"retriever_name": "clear", "stages": [stage]})
    assert answer.status_code == 422
    text = answer.get_data(as_text=True)
    assert "api_key" in text
    assert "sk-proj-in-clear" not in text


def _tenant(services: Services, credits: int = 10_000_000_000) -> Tenant:
    organization = services.organizations.create("Models", "owner@example.com", "enterprise")
    services.ledger.grant(organization.scope, "grant:start", credits)
    namespace = services.namespaces.create(organization.scope, "default")
    key = new_key(services, organization.scope, Permission.ADMIN, "test").text
    headers = {"Authorization": f"Bearer {key}", "X-Namespace": namespace.namespace_id}
    client = build_app(services).test_client()
    return Tenant(client, services, namespace.scope, organization.organization_id, key, headers)


def _notes(tenant: Tenant, driver: JobDriver) -> str:
    """A collection of a few notes."""
    bucket = tenant.created("/v1/buckets", {"bucket_name": "b", "bucket_schema": {"properties": {}}})["bucket_id"]
    collection = tenant.created(
        "/v1/collections",
        {
            "collection_name": "notes",
            "source": {"type": "bucket", "bucket_ids": [bucket]},
            "feature_extractor": {"feature_extractor_name": "text_extractor", "version": "v1"},
        },
    )["collection_id"]
    notes = [{"blobs": [{"property": "text", "type": "text", "data": f"note {n}"}]} for n in range(NOTES)]
    stored = tenant.created(f"/v1/buckets/{bucket}/objects/batch", {"objects": notes})["succeeded"]
    ids = [item["object_id"] for item in stored]
    batch = tenant.created(f"/v1/buckets/{bucket}/batches", {"object_ids": ids})["batch_id"]
    driver.drive(tenant.created(f"/v1/buckets/{bucket}/batches/{batch}/submit", {})["task_id"])
    return str(collection)
