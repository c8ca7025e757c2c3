"""`keystage audit`: whether the log is what was written, and what it says. It changes nothing, shows no internal id."""

import sys
from collections.abc import Iterator

import click

from cli.operators.options import json_anyway_option, json_option, org_option, org_or_all_option, problems_option
from cli.operators.session import operator_session, print_json, show
from core.audit.actions import AuditAction
from core.audit.entry import AuditEntry
from core.audit.examination import Examination
from core.audit.pages import LogFilter
from core.bootstrap import Services
from core.outgoing import to_json
from core.storage.paging import MAX_LIMIT, PageRequest
from core.storage.scope import OrganizationScope


@click.group()
def audit() -> None:
    """Check and read the audit log."""


@audit.command()
@org_or_all_option
@problems_option
@json_option
def verify(organization_id: str | None, only_problems: bool, as_json: bool) -> None:
    """Check the log against its chain, its head and its signed checkpoints. Exit code 1 when anything is wrong."""
    with operator_session() as services:
        found = list(_examine(services, organization_id))
    shown = [one for one in found if one.findings or not only_problems]
    if as_json:
        print_json([_report(one) for one in shown])
    else:
        rows = [{**_report(one), "findings": len(one.findings)} for one in shown]
        show(rows, as_json=False, total=len(found))
        for one in found:
            for finding in one.findings:
                where = "" if finding.seq is None else f" entry {finding.seq}:"
                click.echo(f"{one.organization_id}:{where} {finding.problem}")
    sys.exit(1 if any(one.findings for one in found) else 0)


@audit.command("list")
@org_option
@click.option("--action", type=click.Choice([action.value for action in AuditAction]))
@click.option("--actor", "actor_id", help="Only what this key or user did.")
@click.option("--resource", "resource_id", help="Only what was done to this.")
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=50, show_default=True)
@json_option
def list_entries(
    organization_id: str,
    action: str | None,
    actor_id: str | None,
    resource_id: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List an organization's entries, newest first."""
    wanted = LogFilter(action=action, actor_id=actor_id, resource_id=resource_id)
    with operator_session() as services:
        scope = services.organizations.find(organization_id).scope
        page = services.audit.page(scope, wanted, PageRequest(limit, include_total=True))
        show([_row(entry) for entry in page.records], as_json, page.known_count)


@audit.command("export")
@org_option
@json_anyway_option
def export_entries(organization_id: str) -> None:
    """Write the whole log to stdout, oldest first, one JSON object a line, with the seals of the chain."""
    with operator_session() as services:
        for entry in _whole_log(services, services.organizations.find(organization_id).scope):
            fields = {name: value for name, value in entry.to_document().items() if name not in {"_id", "internal_id"}}
            click.echo(to_json({"audit_id": entry.audit_id, **fields}).decode())


def _examine(services: Services, organization_id: str | None) -> Iterator[Examination]:
    if organization_id:
        yield services.auditor.examine(services.organizations.find(organization_id))
        return
    organizations = services.organizations.list()
    for organization in organizations:
        yield services.auditor.examine(organization)
    yield from services.auditor.lost({organization.organization_id for organization in organizations})


def _whole_log(services: Services, scope: OrganizationScope) -> Iterator[AuditEntry]:
    return map(AuditEntry.from_document, services.audit.stored_entries(scope, 0, 0))


def _report(one: Examination) -> dict[str, object]:
    return {
        "organization_id": one.organization_id,
        "entries": one.entries,
        "checkpoints": one.checkpoints,
        "signed_until": one.vouched_until,
        "findings": [{"seq": finding.seq, "problem": finding.problem} for finding in one.findings],
    }


def _row(entry: AuditEntry) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "at": entry.at,
        "action": entry.action,
        "status": entry.status,
        "resource_id": entry.resource_id,
        "actor_id": entry.actor_id,
        "reason": entry.reason,
        "request_id": entry.request_id,
        "ip_address": entry.ip_address,
        "count": entry.count,
    }
