"""The options that several operator commands take, and the forms of their values. It reads none of them."""

import re

import click

from core.tenancy.user import EMAIL_PATTERN

MOST_CREDITS = 10**12
"""In one grant: sums of some of them are still exact in JSON."""


class _Email(click.ParamType[str]):
    name = "email"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if re.match(EMAIL_PATTERN, value) else self.fail("it reads name@example.com", param, ctx)


class _Name(click.ParamType[str]):
    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value.strip() or self.fail("it may not be empty", param, ctx)


EMAIL, NAME = _Email(), _Name()

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
json_anyway_option = click.option("--json", is_flag=True, expose_value=False, help="Changes nothing: it prints JSON.")
org_option = click.option("--org", "organization_id", required=True, help="The organization's public id.")
org_or_all_option = click.option("--org", "organization_id", help="One organization; all of them when left out.")
problems_option = click.option("--problems", "only_problems", is_flag=True, help="Only what is not well.")
