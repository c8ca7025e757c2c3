"""`keystage org`: the way in for a new organization. The key it prints is shown once."""

import click

from cli.operators.session import json_option, operator_session, print_json, show
from core.credits.prices import MILLI, whole_credits
from core.tenancy.permissions import Permission

_FIRST_NAMESPACE = "default"


@click.group()
def org() -> None:
    """Create and list organizations."""


@org.command()
@click.option("--name", required=True, help="The organization's name.")
@click.option("--email", required=True, help="Whom to write to.")
@click.option("--plan", default="enterprise", show_default=True, help="The organization's plan.")
@click.option("--credits", "credit_count", type=click.IntRange(min=0), default=1000, show_default=True)
def create(name: str, email: str, plan: str, credit_count: int) -> None:
    """Create an organization with an admin key, a first namespace and credits."""
    with operator_session() as services:
        organization = services.tenancy.create_organization(name, email, plan)
        key = services.tenancy.create_key(organization.scope, "admin-key", Permission.ADMIN)
        namespace = services.tenancy.create_namespace(organization.scope, _FIRST_NAMESPACE)
        if credit_count:
            services.ledger.grant(organization.scope, "grant:first", credit_count * MILLI)
        print_json(
            {
                "organization_id": organization.organization_id,
                "api_key": key.text,
                "namespace_id": namespace.namespace_id,
                "namespace_name": namespace.name,
                "credits": credit_count,
            }
        )


@org.command("list")
@json_option
def list_organizations(as_json: bool) -> None:
    """List organizations with their credits."""
    with operator_session() as services:
        rows = [
            {
                "organization_id": organization.organization_id,
                "name": organization.name,
                "email": organization.email,
                "plan": organization.plan,
                "credits": whole_credits(services.ledger.balance(organization.scope).posted),
            }
            for organization in services.tenancy.list_organizations()
        ]
        show(rows, as_json)
