"""`keystage index`: which lexical indexes an earlier release wrote, and writing them anew. A worker does the work."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from cli.operators.options import json_option, org_or_all_option
from cli.operators.session import operator_session, record, show
from core.audit.actions import AuditAction
from core.audit.entry import AuditStatus
from core.bootstrap import Services
from core.errors import NotFoundError
from core.ids import Prefix, random_id
from core.jobs.job import Job, JobState
from core.storage.scope import NamespaceScope
from core.tenancy.tenant import Namespace
from core.words import INDEX_FORM

_LOOK_SECONDS = 0.5

_namespace_option = click.option("--namespace", "named", help="One namespace: its id, or its name beside --org.")


@click.group()
def index() -> None:
    """See which lexical indexes an earlier release wrote, and write them anew."""


@index.command()
@org_or_all_option
@_namespace_option
@json_option
def status(organization_id: str | None, named: str | None, as_json: bool) -> None:
    """Show for each namespace whether its index is as this release writes it."""
    with operator_session() as services:
        show([_status(services, namespace) for namespace in _namespaces(services, organization_id, named)], as_json)


@index.command()
@org_or_all_option
@_namespace_option
@click.option("--again", is_flag=True, help="Also an index that is as this release writes it.")
@json_option
def rebuild(organization_id: str | None, named: str | None, again: bool, as_json: bool) -> None:
    """Write indexes of an earlier release anew, from the texts that are stored. Searches and ingestion go on meanwhile.

    Ended before it is done, the worker goes on; a rebuilding that failed goes on from where it was when it is asked for
    again. Exit code 1 when one was not done.
    """
    with operator_session() as services:
        rows = [
            _rebuilt(services, namespace) if again or namespace.index_form < INDEX_FORM else _row(namespace, None)
            for namespace in _namespaces(services, organization_id, named)
        ]
    show(rows, as_json)
    sys.exit(0 if all(row["state"] in ("current", JobState.SUCCEEDED.value) for row in rows) else 1)


def _namespaces(services: Services, organization_id: str | None, named: str | None) -> Iterator[Namespace]:
    if organization_id is not None:
        scope = services.organizations.find(organization_id).scope
        yield from [services.namespaces.get(scope, named)] if named else services.namespaces.list(scope)
    elif named is not None:
        found = services.namespaces.find(named)
        if found is None:
            raise NotFoundError(f"There is no namespace with the id {named}; its name is enough beside --org.")
        yield found
    else:
        for organization in services.organizations.list():
            yield from services.namespaces.list(organization.scope)


def _status(services: Services, namespace: Namespace) -> Mapping[str, Any]:
    under_way = services.index_rebuilds.under_way(namespace.scope)
    return {
        "namespace_id": namespace.namespace_id,
        "namespace_name": namespace.name,
        "index": "current" if namespace.index_form == INDEX_FORM else "old",
        "rewritten": under_way.points if under_way else None,
        "job_id": under_way.job_id if under_way else None,
    }


def _rebuilt(services: Services, namespace: Namespace) -> Mapping[str, Any]:
    organization = namespace.scope.organization
    record(services, organization, AuditAction.NAMESPACE_UPDATED, namespace.namespace_id)
    job = services.index_rebuilds.begin(namespace.scope, random_id(Prefix.REQUEST))
    job = _followed(services, namespace.scope, job)
    if job.decision and job.decision.outcome is JobState.SUCCEEDED:
        record(services, organization, AuditAction.NAMESPACE_UPDATED, namespace.namespace_id, AuditStatus.SUCCESS)
    return _row(namespace, job)


def _followed(services: Services, scope: NamespaceScope, job: Job) -> Job:
    """The job at its end; meanwhile stderr says how far it is."""
    told = ""
    while not job.is_final:
        state = f"{scope.namespace_id}: {job.state.value}, {job.progress.get('points', 0)} documents"
        if state != told:
            click.echo(state, err=True)
            told = state
        time.sleep(_LOOK_SECONDS)
        job = services.jobs.get(scope, job.job_id)
    return job


def _row(namespace: Namespace, job: Job | None) -> Mapping[str, Any]:
    error = job.decision.error if job and job.decision else None
    return {
        "namespace_id": namespace.namespace_id,
        "namespace_name": namespace.name,
        "state": job.state.value if job else "current",
        "documents": job.progress.get("points", 0) if job else None,
        "job_id": job.job_id if job else None,
        "error": f"{error.code}: {error.message}" if error else None,
    }
