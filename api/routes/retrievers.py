"""Retrievers: made once, never changed, executed as jobs."""

import time
from collections.abc import Collection, Mapping
from typing import Any

from api.call import Call, Reply
from api.pagination import list_request
from api.route import RETRIEVER, RETRIEVERS, Route
from api.routes.collections import require_collections
from api.schemas.paging import PagingQuery
from api.schemas.retrievers import (
    ExecuteBody,
    ExecutionView,
    RetrieverBody,
    RetrieverList,
    SingleRetrieverView,
    show_execution,
    show_retriever,
    show_single_retriever,
)
from api.schemas.tasks import TaskView, show_task
from core.audit.actions import AuditAction
from core.backends.backend import Backend
from core.backends.needs import of_execution
from core.clock import now
from core.credits.prices import PriceClass, execution_price
from core.errors import BackendAwayError, NotFoundError, UnavailableError, ValidationFailedError
from core.ids import Prefix
from core.jobs.job import Job, JobKind, NewJob
from core.jobs.waiting import wait_for_end
from core.limits.policy import RateClass
from core.retrievers.estimate import asks_with_default_key, documents_asked_about, llm_hold
from core.retrievers.executions import execution_id_of, job_id_of
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.retrievers.retriever import Retriever, fill_inputs
from core.retrievers.secret_places import misplaced_secrets, secret_names
from core.retrievers.stages import ignored_keys, model_notes, parse_stages, replaced_models
from core.storage.failures import is_absence_of
from core.tenancy.permissions import Operation, Permission, ResourceType

_AGAIN_SECONDS = 0.1
"""Between two looks at a job that waits and cannot be withdrawn."""


def create_retriever(call: Call) -> Reply:
    """A new retriever. Its stages' parameters are checked now, so that executing it cannot fail on them."""
    body = call.parse(RetrieverBody)
    if misplaced := misplaced_secrets(call.body):
        raise ValidationFailedError(misplaced)
    models = call.services.models
    stages = parse_stages(body.stages, models)
    call.warn_of(ignored_keys(body.stages, stages))
    call.warn_of(body.unknown_inputs())
    call.warnings.extend(model_notes(stages, models, now().date()))
    collections, missing = call.services.collections.resolve(call.scope, body.collection_identifiers)
    if not collections:
        # none named: it searches all of them
        call.require_readable(ResourceType.COLLECTION)
    require_collections(call, "collection_identifiers", collections, missing)
    stored = [stage.to_stored() for stage in stages]
    _require_secrets(call, secret_names(stored))
    retriever = call.services.retrievers.create(
        call.scope,
        call.new_id(Prefix.RETRIEVER),
        body.retriever_name,
        stages=stored,
        collection_ids=[collection.collection_id for collection in collections],
        input_schema=body.inputs(),
        description=body.description,
        metadata=body.metadata,
        tags=body.tags,
    )
    return Reply(show_single_retriever(retriever))


def get_retriever(call: Call) -> Reply:
    """One retriever, by id or name."""
    return Reply(show_single_retriever(_retriever_of(call)))


def list_retrievers(call: Call) -> Reply:
    """Retrievers, newest first."""
    page = call.services.retrievers.list(call.scope, list_request(call), call.visible)
    return Reply(RetrieverList.of(page, show_retriever))


def execute_retriever(call: Call) -> Reply:
    """Run a retriever: wait for its end and answer with the result, or answer 202 with the task at once."""
    retriever = _retriever_of(call)
    body = call.parse(ExecuteBody)
    limit, inputs = body.documents_wanted(), fill_inputs(retriever, body.inputs)
    asynchronous = call.prefers("respond-async")
    if not asynchronous:
        call.require(of_execution(retriever.stages))
    held, most_found = _llm_hold(call, retriever, limit, inputs)
    job_id = call.new_id(Prefix.TASK)
    job = call.services.submission.submit(
        call.scope,
        NewJob(
            job_id=job_id,
            kind=JobKind.RETRIEVER,
            spec={
                "retriever_id": retriever.retriever_id,
                "execution_id": execution_id_of(job_id),
                "inputs": inputs,
                "limit": limit,
                "most_found": most_found,
                "stages": list(retriever.stages),
                "collection_ids": list(retriever.collection_ids),
                "caller": call.known_caller.key.key_id,
                "index_form": call.known_namespace.index_form,
            },
            hold=execution_price(retriever.stage_ids) + held,
            request_id=call.request_id,
            awaited=not asynchronous,
        ),
    )
    if asynchronous:
        return _accepted(job, {"Preference-Applied": "respond-async"})
    job = _waited_for(call, job)
    return _executed(call, job) if job.is_final else _accepted(job, {})


def get_execution(call: Call) -> Reply:
    """One execution of a retriever, ended or not."""
    retriever = _retriever_of(call)
    job = call.services.jobs.get(call.scope, job_id_of(call.path["execution_id"]))
    if job.spec.get("retriever_id") != retriever.retriever_id:
        raise NotFoundError("The task was not found.")
    return _executed(call, job)


def _waited_for(call: Call, submitted: Job) -> Job:
    """The job when it has ended, or as it stands when it was waited for long enough.

    As it was submitted when MongoDB goes away meanwhile: it is recorded, and goes on by itself.
    Raises BackendAwayError for one that cannot go on now: it is withdrawn, unless it went on meanwhile.
    """
    services = call.services
    deadline = time.monotonic() + services.settings.sync_wait_seconds
    while True:
        try:
            job = wait_for_end(services.redis, services.jobs, call.scope, submitted.job_id, deadline - time.monotonic())
        except Exception as error:
            if is_absence_of(Backend.MONGO, error):
                return submitted
            raise
        if job is None:
            # an earlier request with the same Idempotency-Key withdrew it
            raise UnavailableError
        if not job.is_stuck or job.waiting_for is None:
            return job
        if services.submission.withdraw(job):
            raise BackendAwayError(job.waiting_for)
        if time.monotonic() >= deadline:
            return job
        # one that is not ours to withdraw, without Redis to wait by
        time.sleep(_AGAIN_SECONDS)


def _require_secrets(call: Call, names: list[str]) -> None:
    """Raises PermissionDeniedError for secrets that the key's scopes do not cover; warns of those that do not exist."""
    for name in names:
        call.require_readable(ResourceType.SECRET, name)
    missing = set(names) - call.services.secrets.existing(call.organization, names)
    call.warnings.extend(f"The secret {name!r} does not exist yet: executions fail without it." for name in missing)


def _retriever_of(call: Call) -> Retriever:
    return call.services.retrievers.get(call.scope, call.path["retriever_id"])


def _llm_hold(call: Call, retriever: Retriever, limit: int, inputs: Mapping[str, Any]) -> tuple[int, int]:
    """What models may cost, unless the organization pays their providers itself, and for how many documents at most.

    They are counted where fewer of them cost less.
    """
    own_keys: Collection[str] = ()
    if asks_with_default_key(retriever.stages):
        own_keys = call.services.organizations.get(call.organization).default_llm_credentials.keys()
    stages, models = retriever.stages, call.services.models
    asked_about = documents_asked_about(stages, limit, own_keys, inputs, models)
    most_found = MOST_DOCUMENTS
    if asked_about > 1:
        counted = call.services.collections.count_documents(call.scope, retriever.collection_ids, asked_about)
        # for one at least: who cannot pay for a model is told so, whatever there is today
        most_found = max(1, counted) if counted < asked_about else MOST_DOCUMENTS
    return llm_hold(stages, limit, own_keys, inputs, models, most_found), most_found


def _executed(call: Call, job: Job) -> Reply:
    pointer = job.decision.result.get("execution_doc") if job.decision and job.is_final else None
    result = call.services.executions.get(call.scope, pointer) if pointer else None
    statistics = result["stage_statistics"].get("stages", {}) if result else {}
    call.warnings.extend(replaced_models(statistics))
    return Reply(show_execution(job, result))


def _accepted(job: Job, headers: dict[str, str]) -> Reply:
    return Reply(show_task(job), 202, {"Location": f"/v1/tasks/{job.job_id}", **headers})


_RETRIEVER = "/v1/retrievers/<retriever_id>"

ROUTES = (
    Route(
        "POST",
        "/v1/retrievers",
        "retrievers.create",
        create_retriever,
        Permission.WRITE,
        RETRIEVERS,
        operation=Operation.CREATE_RETRIEVER,
        audit=AuditAction.RETRIEVER_CREATED,
        idempotent=True,
        body=RetrieverBody,
        answers={200: SingleRetrieverView},
    ),
    Route(
        "GET",
        "/v1/retrievers",
        "retrievers.list_by_get",
        list_retrievers,
        Permission.READ,
        RETRIEVERS,
        query=PagingQuery,
        answers={200: RetrieverList},
    ),
    Route(
        "POST",
        "/v1/retrievers/list",
        "retrievers.list",
        list_retrievers,
        Permission.READ,
        RETRIEVERS,
        query=PagingQuery,
        answers={200: RetrieverList},
    ),
    Route(
        "GET",
        _RETRIEVER,
        "retrievers.get",
        get_retriever,
        Permission.READ,
        RETRIEVER,
        answers={200: SingleRetrieverView},
    ),
    Route(
        "POST",
        f"{_RETRIEVER}/execute",
        "retrievers.execute",
        execute_retriever,
        Permission.READ,
        RETRIEVER,
        operation=Operation.EXECUTE_RETRIEVER,
        rate=RateClass.SEARCH,
        price=PriceClass.EXECUTION,
        audit=AuditAction.RETRIEVER_EXECUTED,
        idempotent=True,
        body=ExecuteBody,
        answers={200: ExecutionView, 202: TaskView},
    ),
    Route(
        "GET",
        f"{_RETRIEVER}/executions/<execution_id>",
        "executions.get",
        get_execution,
        Permission.READ,
        RETRIEVER,
        rate=RateClass.DATA,
        answers={200: ExecutionView},
    ),
)
