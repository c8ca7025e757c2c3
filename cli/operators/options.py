"""The options that several operator commands take. It reads none of them."""

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
json_anyway_option = click.option("--json", is_flag=True, expose_value=False, help="Changes nothing: it prints JSON.")
org_option = click.option("--org", "organization_id", required=True, help="The organization's public id.")
org_or_all_option = click.option("--org", "organization_id", help="One organization; all of them when left out.")
