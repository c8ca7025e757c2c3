"""`keystage vault`: rotation of keys, and who uses secrets. It shows no value and no key."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import click

from cli.operators.options import json_option, org_option, org_or_all_option
from cli.operators.session import operator_session, print_json, record, show
from core.audit.actions import AuditAction
from core.audit.entry import AuditStatus
from core.bootstrap import Services
from core.storage.scope import OrganizationScope
from core.tenancy.tenant import Organization
from core.vault.access import AccessDay, AccessPattern
from core.vault.rotation import Rewrapped


@click.group()
def vault() -> None:
    """Rotate keys, see under which ones secrets lie, and who uses secrets."""


@vault.command()
@click.option("--kek", "wants_kek", is_flag=True, help="Wrap all data keys with the newest key-encryption key.")
@click.option("--data-keys", "wants_data_keys", is_flag=True, help="Give organizations new data keys.")
@org_or_all_option
@click.option("--before", type=click.DateTime(), help="Data keys made before this moment (UTC); now when left out.")
@json_option
def rotate(
    wants_kek: bool, wants_data_keys: bool, organization_id: str | None, before: datetime | None, as_json: bool
) -> None:
    """Rotate keys while secrets are in use. Stopped half-way, run it again: with the same --before, nothing is done
    twice."""
    if not (wants_kek or wants_data_keys):
        raise click.UsageError("Say what to rotate: --kek, --data-keys, or both.")
    with operator_session() as services:
        moment = before.replace(tzinfo=UTC) if before else services.clock.now()
        report: dict[str, object] = {}
        if wants_data_keys:
            # to be repeated when this run is stopped
            click.echo(f"rotating data keys made before {moment:%Y-%m-%dT%H:%M:%S}", err=True)
            report["data_keys"] = _rotate_data_keys(services, organization_id, moment)
        if wants_kek:
            report["kek"] = asdict(_rewrapped(services, organization_id))
    print_json(report) if as_json else show([{"what": what, "outcome": done} for what, done in report.items()], False)


@vault.command()
@json_option
def status(as_json: bool) -> None:
    """Show how many data keys lie under which key-encryption key."""
    with operator_session() as services:
        show(services.key_rotation.states(), as_json)


@vault.command()
@org_option
@click.option("--secret", "secret_name", help="One secret; all of them when left out.")
@json_option
def access(organization_id: str, secret_name: str | None, as_json: bool) -> None:
    """Show who used secrets, where to, how it went, and what of it is unusual."""
    with operator_session() as services:
        scope = services.organizations.find(organization_id).scope
        names = [secret_name] if secret_name else services.secrets.names(scope)
        found = [(name, _pattern(services, scope, name)) for name in names]
        if as_json:
            print_json([{"secret_name": name, **_report(pattern)} for name, pattern in found])
        else:
            show([_row(name, pattern) for name, pattern in found], as_json=False)


def _rotate_data_keys(services: Services, organization_id: str | None, before: datetime) -> dict[str, int]:
    total = {"organizations": 0, "begun": 0, "values": 0, "destroyed": 0, "unreadable": 0}
    for organization in _organizations(services, organization_id):
        done = services.key_rotation.rotate(organization.scope, before)
        if done.begun or done.values:
            resource = organization.organization_id
            record(services, organization.scope, AuditAction.DATA_KEY_ROTATED, resource, AuditStatus.SUCCESS)
        total["organizations"] += 1
        for name, count in asdict(done).items():
            total[name] += int(count)
    return total


def _rewrapped(services: Services, organization_id: str | None) -> Rewrapped:
    if organization_id is None:
        return services.key_rotation.rewrap_all()
    return services.key_rotation.rewrap(services.organizations.find(organization_id).scope)


def _organizations(services: Services, organization_id: str | None) -> Iterator[Organization]:
    if organization_id is not None:
        yield services.organizations.find(organization_id)
        return
    yield from services.organizations.list()


def _pattern(services: Services, scope: OrganizationScope, name: str) -> AccessPattern:
    secret = services.secrets.get(scope, name)
    return services.secret_access.pattern(scope, secret.secret_id, services.clock.now())


def _report(pattern: AccessPattern) -> dict[str, object]:
    return {
        "unusual": [{"kind": found.kind, "what": found.what, "count": found.count} for found in pattern.findings],
        **{part: pattern.total(part) for part in ("callers", "hosts", "outcomes")},
        "days": [_day(day) for day in pattern.days],
    }


def _day(day: AccessDay) -> dict[str, object]:
    hours = {str(hour): uses for hour, uses in sorted(day.hours.items())}
    return {"day": day.day, "uses": day.uses, "hours": hours}


def _row(name: str, pattern: AccessPattern) -> dict[str, object]:
    parts = {part: pattern.total(part) for part in ("callers", "hosts", "outcomes")}
    return {
        "secret_name": name,
        "days": len(pattern.days),
        **{part: ", ".join(f"{what} {count}" for what, count in counts.items()) for part, counts in parts.items()},
        "unusual": ", ".join(f"{found.kind} {found.what} {found.count}" for found in pattern.findings),
    }
