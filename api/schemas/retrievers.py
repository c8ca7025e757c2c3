"""Retrievers and their executions on the wire."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, StringConstraints

from api.call import validated
from api.schemas.fields import (
    Answer,
    Body,
    Description,
    FreeForm,
    Identifier,
    Number,
    ShortText,
    View,
    name_of,
    name_pattern,
)
from api.schemas.paging import TotalListView
from core.credits.prices import MILLI
from core.errors import FieldProblem, ValidationFailedError
from core.ids import Prefix
from core.jobs.job import Job, JobState
from core.retrievers.catalogue import StageCategory
from core.retrievers.executions import execution_id_of
from core.retrievers.retriever import Retriever, fits_type
from core.retrievers.stages import published_stage
from core.strict_types import POINT_ALLOWED
from core.unknown_keys import Location, UnknownKey, unknown_keys

MAX_DOCUMENTS = 500
DEFAULT_DOCUMENTS = 100

ExecutionStatus = Literal["pending", "processing", "completed", "degraded", "failed", "cancelled"]

_EXECUTION_STATUS: Mapping[JobState, ExecutionStatus] = {
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
    """A new retriever. Its stages are flat, or have their settings under `config`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "retriever_name": "answers",
                    "stages": [
                        {
                            "stage_type": "filter",
                            "stage_id": "attribute_filter",
                            "parameters": {"field": "author", "operator": "eq", "value": "{{INPUT.author}}"},
                        }
                    ],
                    "input_schema": {"author": {"type": "string", "required": True}},
                }
            ]
        }
    )

    retriever_name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=200),
        AfterValidator(name_of(Prefix.RETRIEVER)),
        Field(json_schema_extra=name_pattern(Prefix.RETRIEVER)),
    ]
    stages: list[Any] = Field(min_length=1, json_schema_extra={"items": {"type": "object"}})
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
        """The input schema as a flat map. Raises ValidationFailedError."""
        inputs = {name: validated(InputField, field, at) for name, at, field in self._declared()}
        problems = [
            FieldProblem((*at, "default"), f"must be of the input's own type, {inputs[name].type}")
            for name, at, _ in self._declared()
            if inputs[name].default is not None and not fits_type(inputs[name].default, inputs[name].type)
        ]
        if problems:
            raise ValidationFailedError(problems)
        return {name: field.model_dump(exclude_none=True) for name, field in inputs.items()}

    def unknown_inputs(self) -> list[UnknownKey]:
        """Keys of the declared inputs that are nearly ones that have an effect."""
        return [key for _, at, field in self._declared() for key in unknown_keys(InputField, field, at)]

    def _declared(self) -> list[tuple[str, Location, Any]]:
        """Each input with its place. Prose wraps them in `properties`."""
        declared = self.input_schema
        wrapped = declared.get("properties")
        if not isinstance(wrapped, dict) or isinstance(wrapped.get("type"), str):
            return [(name, ("input_schema", name), field) for name, field in declared.items()]
        required = declared.get("required")
        names = required if isinstance(required, list) else []
        return [
            (
                name,
                ("input_schema", "properties", name),
                {**field, "required": field.get("required", name in names)} if isinstance(field, dict) else field,
            )
            for name, field in wrapped.items()
        ]


class PaginationBody(Body):
    """The published pagination of an execution, by any of its methods. There is one page, so little of it is used."""

    method: str | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_DOCUMENTS), POINT_ALLOWED] | None = None
    page_size: Annotated[int, Field(ge=1, le=MAX_DOCUMENTS), POINT_ALLOWED] | None = None
    offset: Annotated[int, Field(ge=0), POINT_ALLOWED] | None = None
    page: Annotated[int, Field(ge=1), POINT_ALLOWED] | None = Field(
        None, validation_alias=AliasChoices("page", "page_number")
    )
    cursor: str | None = None
    after: dict[str, Any] | None = None
    scroll_id: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it asks for what stands behind a first page."""
        return bool(self.offset or self.cursor or self.after or self.scroll_id or (self.page or 1) != 1)


class ExecuteBody(Body):
    """One execution. What is published and not available yet is refused when it would change the answer."""

    inputs: FreeForm = Field(default_factory=dict)
    limit: Annotated[int, Field(ge=1, le=MAX_DOCUMENTS), POINT_ALLOWED] | None = None
    pagination: PaginationBody | None = None
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
        paging = self.pagination or PaginationBody()
        if paging.goes_on:
            problems.append(FieldProblem(("pagination",), "an execution has one page: ask for a larger limit"))
        if problems:
            raise ValidationFailedError(problems)
        return paging.limit or paging.page_size or self.limit or DEFAULT_DOCUMENTS


class StageConfigView(View):
    """What a stage does, and how it is set."""

    stage_id: str
    """The kind of stage."""
    parameters: dict[str, Any]
    """As they were given, placeholders included."""


class StageView(View):
    """One stage in the published read shape, which carries the parameters twice."""

    stage_name: str
    """Unique in its retriever."""
    stage_type: Annotated[StageCategory, Field(strict=False)]
    """What it does to the list of documents."""
    config: StageConfigView
    """What it does, and how it is set."""
    parameters: dict[str, Any]
    """The same parameters again."""
    on_error: Literal["skip", "error"]
    """Whether its failure fails the execution, or skips the stage."""
    description: Any = None
    """As it was given."""
    batch_size: Any = None
    """As it was given."""
    output_alias: Any = None
    """As it was given."""


class InputView(View):
    """One input that a retriever takes, with whatever else was declared of it."""

    model_config = ConfigDict(extra="allow")

    type: str
    """What kind it is."""
    required: bool
    """Whether it must be given."""
    default: Any = None
    """What is taken when it is not given."""


class RetrieverView(Answer):
    """The published RetrieverConfig."""

    retriever_id: str
    """The retriever."""
    retriever_name: str
    """Unique in its namespace."""
    description: str | None
    """What its owner says about it."""
    collection_ids: list[str]
    """The collections that it searches."""
    collection_identifiers: list[str]
    """The same ids, under the name that a create takes."""
    stages: list[StageView]
    """What it does, in order."""
    input_schema: dict[str, InputView]
    """The inputs that an execution takes, by name."""
    metadata: dict[str, Any]
    """The owner's own facts."""
    tags: list[str]
    """The owner's labels."""
    fusion: None
    """Always null."""
    version: Literal[1]
    """Always 1: a retriever never changes."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class SingleRetrieverView(RetrieverView):
    """One retriever: newer clients read the top level, older ones the copy."""

    retriever: RetrieverView
    """The same retriever again."""


class ExecutionPageView(View):
    """The one page of an execution."""

    method: Literal["offset"]
    """Always `offset`."""
    limit: int
    """The most documents that were asked for."""
    offset: Literal[0]
    """Always 0."""
    total: int
    """How many were found."""
    next_cursor: None
    """Always null."""


class FailureView(View):
    """A document with which a stage could not do its work."""

    document_id: str | None
    """The document."""
    error: str
    """Why, in a sentence."""


class StageStatisticsView(View):
    """What one stage did."""

    input_count: int
    """Documents that went in."""
    output_count: int
    """Documents that came out."""
    duration_ms: float
    """How long it took."""
    efficiency: float
    """Documents that came out for each that went in."""
    error: str | None = None
    """Why the stage was skipped."""
    truncated: bool = False
    """Whether there was more than the stage could look at."""
    left_out: int = 0
    """Documents that the stage did not get, as they could not have been shown."""
    requested_model: str | None = None
    """The model that the stage names, or its provider's default."""
    asked_model: str | None = None
    """The model that was asked: another one where the provider has ended the one that was requested."""
    llm_calls: int = 0
    """Calls of a model that were answered."""
    tokens_used: int = 0
    """Tokens that these calls read and wrote."""
    input_tokens: int = 0
    """Tokens that they read."""
    output_tokens: int = 0
    """Tokens that they wrote."""
    failed_documents: int = 0
    """Documents with which the stage could not do its work."""
    failures: list[FailureView] = Field(default_factory=list)
    """The first five of them, and why."""
    queries: int = 0
    """Wordings that were searched."""
    warnings: list[str] = Field(default_factory=list)
    """What of the stage's queries did not count."""


class StatisticsView(View):
    """What the stages did, by their names, and what it cost."""

    stages: dict[str, StageStatisticsView]
    """Each stage by its name."""
    total_time_ms: Number = 0
    """How long all stages took."""
    credits_used: Number
    """What the execution cost, fractions included."""


class BudgetView(View):
    """What the execution cost."""

    credits_used: Number
    """Credits, fractions included."""


class ExecutionView(Answer):
    """The published execution response. A failed execution is an answer with `status: failed` and its error."""

    execution_id: str
    """The execution."""
    retriever_id: str
    """The retriever."""
    task_id: str
    """The task that it is."""
    status: ExecutionStatus
    """How far it is, or how it ended."""
    documents: list[dict[str, Any]]
    """What was found, best first."""
    pagination: ExecutionPageView
    """The one page that there is."""
    stage_statistics: StatisticsView
    """What each stage did."""
    budget: BudgetView
    """What it cost."""
    error: str | None
    """Why it failed, in a sentence."""
    error_code: str | None
    """Why it failed, as a stable code."""
    created_at: datetime
    """When it was made."""
    completed_at: datetime | None
    """When it ended."""


class RetrieverList(TotalListView[RetrieverView]):
    """A page of retrievers."""


def show_retriever(retriever: Retriever) -> RetrieverView:
    """A retriever as lists answer it."""
    return RetrieverView(**_retriever_fields(retriever))


def show_single_retriever(retriever: Retriever) -> SingleRetrieverView:
    """A retriever as it is answered by itself."""
    return SingleRetrieverView(**_retriever_fields(retriever), retriever=show_retriever(retriever))


def _retriever_fields(retriever: Retriever) -> dict[str, Any]:
    return {
        "retriever_id": retriever.retriever_id,
        "retriever_name": retriever.retriever_name,
        "description": retriever.description,
        "collection_ids": list(retriever.collection_ids),
        "collection_identifiers": list(retriever.collection_ids),
        "stages": [published_stage(stage) for stage in retriever.stages],
        "input_schema": dict(retriever.input_schema),
        "metadata": dict(retriever.metadata),
        "tags": list(retriever.tags),
        "fusion": None,
        "version": 1,
        "created_at": retriever.created_at,
        "updated_at": retriever.updated_at,
    }


def show_execution(job: Job, result: Mapping[str, Any] | None) -> ExecutionView:
    """An execution as it is answered. A failed one has HTTP status 200."""
    error = job.decision.error if job.decision and job.is_final else None
    documents = list(result["documents"]) if result else []
    credits_used = job.decision.charge / MILLI if job.decision and job.is_final else 0
    return ExecutionView(
        execution_id=execution_id_of(job.job_id),
        retriever_id=job.spec["retriever_id"],
        task_id=job.job_id,
        status=_EXECUTION_STATUS[job.state],
        documents=documents,
        pagination=ExecutionPageView(
            method="offset", limit=job.spec["limit"], offset=0, total=len(documents), next_cursor=None
        ),
        stage_statistics=StatisticsView.model_validate(
            {"stages": {}, **(result["stage_statistics"] if result else {}), "credits_used": credits_used}
        ),
        budget=BudgetView(credits_used=credits_used),
        error=error.message if error else None,
        error_code=error.code if error else None,
        created_at=job.created_at,
        completed_at=job.finished_at,
        **_warnings(result["stage_statistics"]["stages"] if result else {}),
    )


def _warnings(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """What the stages warn of, each with the stage's name; the field is absent when that is nothing."""
    warnings = [f"{name}: {warning}" for name, facts in stages.items() for warning in facts.get("warnings", ())]
    return {"warnings": warnings} if warnings else {}
