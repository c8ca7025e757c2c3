"""A real API process whose object storage and key service are away: what needs them is refused, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from core.backends.backend import Backend
from core.ids import Prefix, random_id
from tests.api_process import Account, Site, site
from tests.away_server import UNAVAILABLE, AwayServer, Conduct, Handler, Reply, Request, away_server, in_front_of
from tests.key_servers import TOKEN, TransitServer, running
from tests.stack import wait_until

PATIENCE = 30.0


def bucket_of(kept: dict[str, bytes]) -> Handler:
    """What an S3 bucket does with single objects."""
    said = {"ETag": '"1"', "Last-Modified": "Tue, 01 Dec 2026 00:00:00 GMT"}

    def answer(request: Request) -> Reply:
        if request.method == "PUT":
            kept[request.target] = request.body
            return Reply(200, headers=said)
        found = kept.get(request.target)
        return Reply(404, headers=said) if found is None else Reply(200, found, said)

    return answer


@dataclass
class World:
    """The API process, and its services."""

    site: Site
    account: Account
    blobs: AwayServer
    kept: dict[str, bytes]
    keys: AwayServer

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """The answer."""
        sent = {**self.account.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.request(method, self.site.url + path, json=body, headers=sent, timeout=PATIENCE)

    def asked_of_blobs(self) -> list[str]:
        """What reached the object storage, probes apart."""
        return [target for _, target in self.blobs.requests if "probe" not in target]

    def knows(self, backend: Backend) -> bool:
        """Whether the process says that it is away."""
        return backend.value in httpx.get(f"{self.site.url}/v1/health", timeout=PATIENCE).json()["errors"]

    @contextmanager
    def without(self, backend: Backend, service: AwayServer, how: Conduct | Reply) -> Iterator[None]:
        """One is away, and the process has noticed."""
        service.be(how)
        try:
            if backend is Backend.KEY_SERVICE:
                # its last answer would count for half a minute, and no probe would ask before
                assert refused(self.call("POST", SECRETS, a_secret()), backend)
            wait_until(lambda: self.knows(backend), PATIENCE, f"{backend} to be known away")
            yield
        finally:
            service.be(Conduct.WORKS)
            wait_until(lambda: not self.knows(backend), PATIENCE, f"{backend} to be back")


@pytest.fixture(scope="module")
def world(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kept = dict[str, bytes]()
    with (
        running(TransitServer()) as transit,
        away_server(in_front_of(transit.url)) as keys,
        away_server(bucket_of(kept)) as blobs,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {
            "AWS_ENDPOINT": blobs.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            patch.setenv(name, value)
        chosen: dict[str, Any] = {
            "blob_url": "s3://bucket",
            "kek_provider": "transit",
            "kek_transit_url": keys.url,
            "kek_transit_token": TOKEN,
            # each sealing asks the key service
            "data_key_cache_seconds": 0,
        }
        with site(mongo_url, redis_url, tmp_path_factory.mktemp("data"), **chosen) as api:
            yield World(api, api.account(), blobs, kept, keys)


def a_bucket(world: World) -> str:
    named = {"bucket_name": f"n-{random_id(Prefix.REQUEST)[4:]}", "bucket_schema": {"properties": {}}}
    answer = world.call("POST", "/v1/buckets", named)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["bucket_id"])


def refused(answer: httpx.Response, backend: Backend) -> bool:
    details = answer.json().get("error", {}).get("details", {})
    return (answer.status_code, details.get("backend")) == (503, backend.value) and "Retry-After" in answer.headers


def a_secret() -> dict[str, str]:
    return {"secret_name": f"key_{random_id(Prefix.REQUEST)[4:].lower()}", "secret_value": "a-long-enough-value"}


SECRETS = "/v1/organizations/secrets"
THING = {"blobs": [{"property": "t", "type": "text", "data": "some text"}]}


@pytest.mark.parametrize("how", [UNAVAILABLE, Conduct.SILENT], ids=["refuses", "silent"])
def test_without_object_storage_uploads_are_refused_at_once(world: World, how: Conduct | Reply) -> None:
    bucket, key = a_bucket(world), random_id(Prefix.OPERATION)
    objects = f"/v1/buckets/{bucket}/objects"
    stands = world.call("POST", objects, THING).json()["object_id"]
    kept = dict(world.kept)
    with world.without(Backend.BLOBS, world.blobs, how):
        asked = world.asked_of_blobs()
        for method, path, body in (
            ("POST", objects, THING),
            ("POST", f"{objects}/batch", {"objects": [THING]}),
            ("DELETE", f"{objects}/{stands}", None),
        ):
            headers = {"Idempotency_Key": key} if path == objects else {}
            answer = world.call(method, path, body, **headers)
            assert refused(answer, Backend.BLOBS), answer.text
        assert world.asked_of_blobs() == asked, "it is known to be away, and was asked all the same"
        # what needs none is done
        assert world.call("GET", f"{objects}/{stands}").status_code == 200
        assert world.call("GET", "/v1/health/readiness").status_code == 200
        a_bucket(world)
        [listed] = world.call("GET", objects).json()["results"]
        assert listed["object_id"] == stands
    assert {name: content for name, content in world.kept.items() if "probe" not in name} == {
        name: content for name, content in kept.items() if "probe" not in name
    }
    answers = [world.call("POST", objects, THING, Idempotency_Key=key) for _ in range(2)]
    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].json()["object_id"] == answers[1].json()["object_id"]


@pytest.mark.parametrize("how", [UNAVAILABLE, Conduct.SILENT], ids=["refuses", "silent"])
def test_without_the_key_service_nothing_is_sealed_and_all_else_goes_on(world: World, how: Conduct | Reply) -> None:
    stored, key = a_secret(), random_id(Prefix.OPERATION)
    name = stored["secret_name"]
    assert world.call("POST", SECRETS, {**stored, "secret_name": f"{name}_0"}).status_code == 200
    channel = {
        "channel": "webhook",
        "configs": {"url": "https://example.com/hook", "signing_secret": "a-signing-secret-of-ours"},
    }
    hook = {"webhook_name": name, "event_types": ["resource.executed"], "channels": [channel]}
    with world.without(Backend.KEY_SERVICE, world.keys, how):
        for method, path, body in (
            ("POST", SECRETS, stored),
            ("PUT", f"{SECRETS}/{name}_0", {"secret_value": "another-long-value"}),
            ("POST", "/v1/organizations/webhooks", hook),
        ):
            headers = {"Idempotency_Key": key} if body is stored else {}
            answer = world.call(method, path, body, **headers)
            assert refused(answer, Backend.KEY_SERVICE), answer.text
        names = world.call("GET", SECRETS).json()["secrets"]
        assert f"{name}_0" in names
        assert name not in names
        assert world.call("GET", f"{SECRETS}/{name}_0").status_code == 200
        assert world.call("POST", "/v1/organizations/webhooks/list", {}).status_code == 200
        a_bucket(world)
        assert world.call("DELETE", f"{SECRETS}/{name}_0").status_code == 200
    answers = [world.call("POST", SECRETS, stored, Idempotency_Key=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert world.call("DELETE", f"{SECRETS}/{name}").status_code == 200
