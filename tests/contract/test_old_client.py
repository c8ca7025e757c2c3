"""The oldest release of the official client that is served: it drops the body of any status that it does not know."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.registry import ROUTES
from tests.api_process import Account, Site, site

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-client-1.3.1"
PROGRAM = Path(__file__).parent / "old_client.py"
SHOWN = {
    "users.create": "email",
    "api_keys.create": "key",
    "api_keys.rotate": "key",
    "namespaces.create": "namespace_id",
    "buckets.create": "bucket_id",
    "objects.create": "object_id",
    "objects.create_batch": "succeeded",
    "collections.create": "collection_id",
    "batches.create": "batch_id",
    "retrievers.create": "retriever",
    "secrets.create": "secret_name",
    "webhooks.create": "webhook_id",
}
"""Of each create something that only the body of the answer says."""


@pytest.fixture(scope="module")
def house(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(mongo_url, redis_url, Path(tmp_path_factory.mktemp("old_client"))) as one:
        yield one


@pytest.fixture(scope="module")
def account(house: Site) -> Account:
    return house.account()


@pytest.fixture(scope="module")
def said(house: Site, account: Account) -> dict[str, Any]:
    """What the program with the old client prints."""
    assert (FOLDER / "mixpeek").is_dir(), "the old client is not installed: run make setup"
    command = [sys.executable, str(PROGRAM), house.url, account.key, account.namespace_id]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["version"] == "1.3.1"
    return said


def test_no_create_loses_its_body(said: dict[str, Any]) -> None:
    shown = said["created"]
    assert {name for name, answer in shown.items() if not answer or not answer.get(SHOWN[name])} == set()
    assert shown.keys() == SHOWN.keys()


def test_of_every_route_it_knows_each_status_that_we_send_it(said: dict[str, Any]) -> None:
    # a route's rule names its parameters otherwise
    known = {(method, re.sub(r"\{\w+\}", "{}", path)): statuses for method, path, statuses in said["answers"]}
    assert len(known) > 300
    ours = {(route.method, re.sub(r"<\w+>", "{}", route.rule)): route for route in ROUTES}
    unknown = {
        route.name: (sorted(route.answers), known[place])
        for place, route in ours.items()
        if place in known and not set(known[place]) & route.answers.keys()
    }
    assert unknown == {}
    only_201 = {route.name for place, route in ours.items() if known.get(place) == [201]}
    assert only_201 == {"secrets.create", "webhooks.create_201"}
    assert {route.name for route in ROUTES if 201 in route.answers} == only_201


@pytest.mark.parametrize("release", ["1.3.1", "1.3.2", "1.3.783"])
def test_only_the_old_releases_are_answered_201_and_only_where_they_know_nothing_else(
    house: Site, account: Account, release: str
) -> None:
    headers = {**account.headers, "User-Agent": f"OpenAPI-Generator/{release}/python"}
    name = f"r_{release.replace('.', '_')}"

    def post(path: str, body: dict[str, Any]) -> int:
        return httpx.post(f"{house.url}{path}", json=body, headers=headers).status_code

    old = release != "1.3.783"
    assert post("/v1/organizations/secrets", {"secret_name": name, "secret_value": "a long value"}) == 200 + old
    assert post("/v1/namespaces", {"namespace_name": name}) == 200
    assert post("/v1/organizations/users", {"email": f"{name}@example.com", "user_name": "X"}) == 200
