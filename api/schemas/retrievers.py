"""Retrievers and their executions on the wire."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, StringConstraints

from api.call import validated
from api.schemas.fields import Body, Description, FreeForm, Identifier, ShortText, name_of
from core.credits.prices import MILLI
from core.errors import FieldProblem, ValidationFailedError
from core.ids import Prefix
from core.jobs.job import Job, JobState
from core.retrievers.executions import execution_id_of
from core.retrievers.retriever import Retriever
from core.retrievers.stages import published_stage

MAX_DOCUMENTS = 500
DEFAULT_DOCUMENTS = 100

_EXECUTION_STATUS: Mapping[JobState, str] = {
    JobState.QUEUED: "pending",
    JobState.RUNNING: "processing",
    JobState.FINISHING: "processing",
    JobState.SUCCEEDED: "completed",
    JobState.PARTIAL: "degraded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


class InputField(Body):
    """One input that a retriever takes."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
    required: bool = False
    default: Any = None


class RetrieverBody(Body):
    """POST /v1/retrievers. Stages are read by `core.retrievers.stages`."""

    retriever_name: Annotated[
        str, StringConstraints(min_length=1, max_length=200), AfterValidator(name_of(Prefix.RETRIEVER))
    ]
    stages: list[Any] = Field(min_length=1)
    collection_identifiers: list[Identifier] = Field(
        default_factory=list,
        max_length=100,
        validation_alias=AliasChoices("collection_identifiers", "collection_ids"),
    )
    input_schema: FreeForm = Field(default_factory=dict)
    description: Description | None = None
    metadata: FreeForm = Field(default_factory=dict)
    tags: list[ShortText] = Field(default_factory=list, max_length=50)

    def inputs(self) -> dict[str, dict[str, Any]]:
        """The input schema as a flat map; prose wraps it in `properties`. Raises ValidationFailedError."""
        declared = self.input_schema
        wrapped = declared.get("properties")
        if isinstance(wrapped, dict) and not isinstance(wrapped.get("type"), str):
            required = declared.get("required")
            names = required if isinstance(required, list) else []
            declared = {
                name: {**field, "required": field.get("required", name in names)} if isinstance(field, dict) else field
                for name, field in wrapped.items()
            }
        return {
            name: validated(InputField, field, ("input_schema", name)).model_dump(exclude_none=True)
            for name, field in declared.items()
        }


class ExecuteBody(Body):
    """POST …/execute. What is published and not available yet is refused when it would change the answer."""

    inputs: FreeForm = Field(default_factory=dict)
    limit: int | None = Field(default=None, ge=1, le=MAX_DOCUMENTS)
    pagination: dict[str, Any] | None = None
    filters: dict[str, Any] | None = None
    target_collection_id: str | None = None
    stream: bool = False
    explain: bool = False
    return_vectors: bool = False
    expand: list[str] | None = None
    skip_cache: bool = False
    return_presigned_urls: bool = False

    def documents_wanted(self) -> int:
        """The most documents to answer with. Raises ValidationFailedError for what is not available yet."""
        unavailable = ("filters", "target_collection_id", "stream", "explain", "return_vectors", "expand")
        problems = [
            FieldProblem((name,), "not available in this version: leave it out", "not_available")
            for name in unavailable
            if getattr(self, name)
        ]
        paging = self.pagination or {}
        if paging.get("offset") or paging.get("cursor") or paging.get("page", 1) != 1:
            problems.append(FieldProblem(("pagination",), "an execution has one page: ask for a larger limit"))
        wanted = paging.get("limit", paging.get("page_size", self.limit))
        if wanted is not None and (type(wanted) is not int or not 1 <= wanted <= MAX_DOCUMENTS):
            problems.append(FieldProblem(("pagination", "limit"), f"must be from 1 to {MAX_DOCUMENTS}"))
        if problems:
            raise ValidationFailedError(problems)
        return wanted or DEFAULT_DOCUMENTS


def show_retriever(retriever: Retriever) -> dict[str, Any]:
    """The published RetrieverConfig: stages in shape B', which carries the parameters twice."""
    return {
        "retriever_id": retriever.retriever_id,
        "retriever_name": retriever.retriever_name,
        "description": retriever.description,
        "collection_ids": list(retriever.collection_ids),
        "collection_identifiers": list(retriever.collection_ids),
        "stages": [published_stage(stage) for stage in retriever.stages],
        "input_schema": retriever.input_schema,
        "metadata": retriever.metadata,
        "tags": list(retriever.tags),
        "fusion": None,
        "version": 1,
        "created_at": retriever.created_at,
        "updated_at": retriever.updated_at,
    }


def show_execution(job: Job, result: Mapping[str, Any] | None) -> dict[str, Any]:
    """The published execution response. A failed execution has `status: "failed"`, its error, and HTTP status 200."""
    error = job.decision.error if job.decision and job.is_final else None
    documents = list(result["documents"]) if result else []
    credits_used = job.decision.charge / MILLI if job.decision and job.is_final else 0
    statistics = dict(result["stage_statistics"]) if result else {"stages": {}}
    return {
        "execution_id": execution_id_of(job.job_id),
        "retriever_id": job.spec["retriever_id"],
        "task_id": job.job_id,
        "status": _EXECUTION_STATUS[job.state],
        "documents": documents,
        "pagination": {
            "method": "offset",
            "limit": job.spec["limit"],
            "offset": 0,
            "total": len(documents),
            "next_cursor": None,
        },
        "stage_statistics": {**statistics, "credits_used": credits_used},
        "budget": {"credits_used": credits_used},
        "error": error.message if error else None,
        "error_code": error.code if error else None,
        "created_at": job.created_at,
        "completed_at": job.finished_at,
    }
