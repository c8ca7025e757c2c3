"""The published names of job states and kinds: on the wire a job is a task. Pure."""

from collections.abc import Mapping
from typing import Literal

from core.jobs.job import JobKind, JobState

TaskStatus = Literal["PENDING", "PROCESSING", "COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED"]
TaskType = Literal[
    "api_buckets_batches_process", "api_retrievers_execute", "api_namespaces_delete", "api_namespaces_migrations_run"
]

_STATUS: Mapping[JobState, TaskStatus] = {
    JobState.QUEUED: "PENDING",
    JobState.RUNNING: "PROCESSING",
    JobState.FINISHING: "PROCESSING",
    JobState.SUCCEEDED: "COMPLETED",
    JobState.PARTIAL: "COMPLETED_WITH_ERRORS",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "CANCELED",
}

TASK_TYPES: Mapping[JobKind, TaskType] = {
    JobKind.INGESTION: "api_buckets_batches_process",
    JobKind.RETRIEVER: "api_retrievers_execute",
    JobKind.NAMESPACE_DELETION: "api_namespaces_delete",
    JobKind.INDEX_REBUILD: "api_namespaces_migrations_run",
}


def wire_status(state: JobState) -> TaskStatus:
    """A state as the published enum spells it."""
    return _STATUS[state]


def states_with_status(status: str) -> list[JobState]:
    """The states that the wire shows as `status`; empty for a status we never use."""
    return [state for state, name in _STATUS.items() if name == status]
