"""`keystage credits`: an organization's statement, and whether it adds up."""

import sys

import click

from cli.operators.options import (
    MOST_CREDITS,
    NAME,
    json_anyway_option,
    json_option,
    org_option,
    org_or_all_option,
    problems_option,
)
from cli.operators.session import operator_session, print_json, record, show
from core.audit.actions import AuditAction
from core.audit.entry import AuditStatus
from core.credits.entry import Entry
from core.credits.ledger import Ledger
from core.credits.prices import MILLI
from core.credits.reconcile import reconcile
from core.storage.scope import OrganizationScope

_PAGE = 1000


@click.group()
def credits() -> None:
    """Statements and reconciliation of credits."""


@credits.command()
@org_option
@click.option("--last", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Newest entries to show.")
@json_option
def statement(organization_id: str, last: int, as_json: bool) -> None:
    """Show what was granted, held, captured and released."""
    with operator_session() as services:
        scope = services.organizations.find(organization_id).scope
        entries = whole_ledger(services.ledger, scope)
        show([_row(entry) for entry in entries[-last:]], as_json, total=len(entries))


@credits.command("grant")
@org_option
@click.option("--credits", "amount", type=click.IntRange(1, MOST_CREDITS), required=True)
@click.option("--reference", type=NAME, required=True, help="Names this grant; the same one again changes nothing.")
@json_anyway_option
def grant_credits(organization_id: str, amount: int, reference: str) -> None:
    """Add credits to an organization."""
    with operator_session() as services:
        scope = services.organizations.find(organization_id).scope
        record(services, scope, AuditAction.CREDITS_GRANTED, reference)
        entry = services.ledger.grant(scope, f"grant:{reference}", amount * MILLI)
        record(services, scope, AuditAction.CREDITS_GRANTED, reference, AuditStatus.SUCCESS)
        print_json(_row(entry))


@credits.command("reconcile")
@org_or_all_option
@problems_option
@json_option
def reconcile_ledgers(organization_id: str | None, only_problems: bool, as_json: bool) -> None:
    """Recompute ledgers from their first entry. Exit code 1 when one does not add up."""
    with operator_session() as services:
        found = [services.organizations.find(organization_id)] if organization_id else services.organizations.list()
        rows = [
            {
                "organization_id": organization.organization_id,
                **_totals(whole_ledger(services.ledger, organization.scope)),
            }
            for organization in found
        ]
    show([row for row in rows if row["problems"] or not only_problems], as_json, total=len(rows))
    sys.exit(1 if any(row["problems"] for row in rows) else 0)


def whole_ledger(ledger: Ledger, scope: OrganizationScope) -> list[Entry]:
    """Every entry of an organization, in order."""
    entries: list[Entry] = []
    while page := ledger.statement(scope, after_seq=len(entries), limit=_PAGE):
        entries += page
    return entries


def _totals(entries: list[Entry]) -> dict[str, object]:
    found = reconcile(entries)
    return {
        "entries": found.entries,
        "granted": found.granted / MILLI,
        "captured": found.captured / MILLI,
        "held": found.held / MILLI,
        "posted": found.posted / MILLI,
        "problems": found.problems,
    }


def _row(entry: Entry) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "at": entry.at,
        "kind": entry.kind.value,
        "credits": entry.amount / MILLI,
        "job_id": entry.job_id,
        "posted_after": entry.posted_after / MILLI,
        "held_after": entry.held_after / MILLI,
    }
