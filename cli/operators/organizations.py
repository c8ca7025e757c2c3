"""`keystage org`: the way in for a new organization. The key it prints is shown once."""

import click

from cli.operators.options import EMAIL, MOST_CREDITS, NAME, json_anyway_option, json_option, org_option
from cli.operators.session import operator_session, print_json, record, show
from core.audit.actions import AuditAction
from core.audit.entry import AuditStatus
from core.bootstrap import Services
from core.credits.prices import MILLI, whole_credits
from core.errors import NotFoundError
from core.storage.scope import OrganizationScope
from core.tenancy.api_key import KeyGrant
from core.tenancy.first_keys import FIRST_KEY_NAME
from core.tenancy.keys import PresentedKey
from core.tenancy.permissions import Permission
from core.tenancy.user import Role, User

_FIRST_NAMESPACE = "default"


@click.group()
def org() -> None:
    """Create, list and delete organizations."""


@org.command()
@click.option("--name", type=NAME, required=True, help="The organization's name.")
@click.option("--email", type=EMAIL, required=True, help="Whom to write to.")
@click.option("--plan", default="enterprise", show_default=True, help="The organization's plan.")
@click.option("--credits", "credit_count", type=click.IntRange(0, MOST_CREDITS), default=1000, show_default=True)
@json_anyway_option
def create(name: str, email: str, plan: str, credit_count: int) -> None:
    """Create an organization with an admin key, a first namespace and credits."""
    with operator_session() as services:
        if plan not in services.settings.plans:
            known = ", ".join(services.settings.plans)
            raise click.BadParameter(f"there is no plan {plan!r}: choose one of {known}", param_hint="--plan")
        organization = services.organizations.create(name, email, plan)
        record(
            services,
            organization.scope,
            AuditAction.ORGANIZATION_CREATED,
            organization.organization_id,
            AuditStatus.SUCCESS,
        )
        user = services.users.create(organization.scope, email, name, Role.ADMIN)
        key = _issue(services, organization.scope, user, FIRST_KEY_NAME)
        namespace = services.namespaces.create(organization.scope, _FIRST_NAMESPACE)
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


@org.command("key")
@org_option
@click.option("--email", type=EMAIL, required=True, help="The user whose key it will be; made an admin when unknown.")
@click.option("--name", type=NAME, required=True, help="The key's name.")
@json_anyway_option
def issue_key(organization_id: str, email: str, name: str) -> None:
    """Issue an admin key, for an organization that has none left. It is shown once."""
    with operator_session() as services:
        scope = services.organizations.find(organization_id).scope
        user = _user(services, scope, email)
        key = _issue(services, scope, user, name)
        print_json({"organization_id": organization_id, "user_email": user.email, "api_key": key.text})


def _user(services: Services, scope: OrganizationScope, email: str) -> User:
    try:
        return services.users.get(scope, email)
    except NotFoundError:
        record(services, scope, AuditAction.USER_CREATED, email)
        user = services.users.create(scope, email, email, Role.ADMIN)
        record(services, scope, AuditAction.USER_CREATED, user.user_id, AuditStatus.SUCCESS)
        return user


def _issue(services: Services, scope: OrganizationScope, user: User, name: str) -> PresentedKey:
    record(services, scope, AuditAction.API_KEY_CREATED, f"{user.email}/{name}")
    key = services.keys.issue(scope, user, name, KeyGrant((Permission.ADMIN,)))
    record(services, scope, AuditAction.API_KEY_CREATED, key.key_id, AuditStatus.SUCCESS)
    return key


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
                "deleted_at": organization.deleted_at,
            }
            for organization in services.organizations.list()
        ]
        show(rows, as_json)


@org.command("delete")
@org_option
@click.option("--yes", is_flag=True, help="Do it. What its data keys encrypted can never be read again.")
@json_anyway_option
def delete_organization(organization_id: str, yes: bool) -> None:
    """Delete an organization: end its keys, refuse its requests at once, destroy its data keys for ever."""
    if not yes:
        raise click.UsageError("This cannot be undone: say --yes.")
    with operator_session() as services:
        scope = services.organizations.find(organization_id).scope
        record(services, scope, AuditAction.ORGANIZATION_DELETED, organization_id)
        destroyed = services.removal.remove(scope)
        record(services, scope, AuditAction.ORGANIZATION_DELETED, organization_id, AuditStatus.SUCCESS)
        print_json({"organization_id": organization_id, "deleted": True, "data_keys_destroyed": destroyed})
