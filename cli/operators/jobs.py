"""`keystage jobs`: look at jobs, and submit a failed one again."""

import click

from cli.operators.options import json_anyway_option, json_option, org_option
from cli.operators.session import operator_session, print_json, record, show
from core.audit.actions import AuditAction
from core.audit.entry import AuditStatus
from core.bootstrap import Services
from core.errors import NotFoundError
from core.jobs.job import Job, JobState


@click.group()
def jobs() -> None:
    """Look at jobs, and run a failed one again."""


@jobs.command("list")
@org_option
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="Only jobs in this state.")
@click.option("--days", type=click.IntRange(1, 365), default=7, show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
def list_jobs(organization_id: str, state: str | None, days: int, limit: int, as_json: bool) -> None:
    """List an organization's jobs, newest first."""
    with operator_session() as services:
        scope = services.organizations.find(organization_id).scope
        wanted = [JobState(state)] if state else []
        found = services.jobs.list(scope, days=days, states=wanted, limit=limit)
        total = services.jobs.count(scope, days=days, states=wanted) if len(found) == limit else len(found)
        show([_row(job) for job in found], as_json, total)


@jobs.command("show")
@click.argument("job_id")
@json_anyway_option
def show_job(job_id: str) -> None:
    """Show one job whole, with its credits."""
    with operator_session() as services:
        job = _job(services, job_id)
        entries = services.ledger.entries_of(job.scope, job.hold_id)
        print_json(
            {
                **_row(job),
                "spec": dict(job.spec),
                "progress": dict(job.progress),
                "result": dict(job.decision.result) if job.decision else None,
                "owed_events": [event.event_type for event in job.events],
                "due_at": job.due_at,
                "waits": job.waits,
                "ledger": [{"seq": entry.seq, "kind": entry.kind, "amount": entry.amount} for entry in entries],
            }
        )


@jobs.command()
@click.argument("job_id")
@json_anyway_option
def retry(job_id: str) -> None:
    """Submit an ended job again, as a new job. What a partial one has done is not repeated."""
    with operator_session() as services:
        job = _job(services, job_id)
        record(services, job.scope, AuditAction.TASK_RETRIED, job_id)
        again = services.submission.retry(job)
        record(services, job.scope, AuditAction.TASK_RETRIED, job_id, AuditStatus.SUCCESS)
        print_json({"job_id": again.job_id, "retry_of": job_id})


def _job(services: Services, job_id: str) -> Job:
    job = services.queue.find(job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id}.")
    return job


def _row(job: Job) -> dict[str, object]:
    error = job.decision.error if job.decision else None
    return {
        "job_id": job.job_id,
        "kind": job.kind.value,
        "state": job.state.value,
        "namespace_id": job.scope.namespace_id,
        "attempts": job.attempts,
        "waiting_for": job.waiting_for.value if job.waiting_for else None,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "error": f"{error.code}: {error.message}" if error else None,
    }
