"""Paths and headers as they came over the wire, against the real server: what can be read in two ways is not served."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api_process import Account, Site, site
from tests.integration.bodies import BUCKET
from tests.integration.test_hostile_json import Peer


@pytest.fixture(scope="module")
def house(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(mongo_url, redis_url, Path(tmp_path_factory.mktemp("door"))) as one:
        yield one


@pytest.fixture(scope="module")
def account(house: Site) -> Account:
    made = house.account()
    house.services.namespaces.create(made.scope, "second")
    return made


class Wire:
    """Sends requests byte by byte as they are written here."""

    def __init__(self, house: Site, account: Account) -> None:
        self._account = account
        self._peer = Peer(house.url, account)

    def get(self, target: str, *headers: str, body: Any = None, keyed: bool = True) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer; without headers in the form that is right."""
        sent = json.dumps(body).encode() if body is not None else b""
        own = (f"Authorization: Bearer {self._account.key}",) if keyed else ()
        length = ("Content-Type: application/json", f"Content-Length: {len(sent)}") if sent else ()
        lines = [
            f"{'POST' if sent else 'GET'} {target} HTTP/1.1",
            *(() if any(line.lower().startswith("host") for line in headers) else ("Host: keystage.example",)),
            *own,
            *headers,
            *length,
            "Connection: close",
        ]
        answer = self._peer.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + sent)
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), json.loads(content) if content.startswith(b"{") else {}


@pytest.fixture(scope="module")
def wire(house: Site, account: Account) -> Wire:
    return Wire(house, account)


@pytest.fixture(scope="module")
def bucket_id(wire: Wire) -> str:
    status, made = wire.get("/v1/buckets", "X-Namespace: default", body=BUCKET)
    assert status == 200
    return str(made["bucket_id"])


@pytest.mark.parametrize(
    "target",
    [
        "//v1/buckets", "/v1//buckets", "///v1/buckets", "/v1/./buckets", "/v1/../v1/buckets", "/v1/x/../buckets",
        "/v1/%2e/buckets", "/v1/%2e%2e/v1/buckets", "/v1%2Fbuckets", "/%2Fv1/buckets",
        "/v1/buckets/BUCKET%2Fobjects", "/v1/buckets/BUCKET%2fobjects", "/v1/buckets/BUCKET%252Fobjects",
        "/v1/buckets/BUCKET%5Cobjects", "/v1/buckets/BUCKET%00", "/v1/buckets/BUCKET%", "/v1/buckets/BUCKET%zz",
        "/v1/buckets/BUCKET%c0%afobjects", "/v1/buckets/BUCKET//objects", "/v1/buckets/BUCKET/",
        "http://keystage.example//v1/buckets", "*",
    ],
)  # fmt: skip
def test_a_path_in_another_spelling_is_no_route(wire: Wire, bucket_id: str, target: str) -> None:
    status, answer = wire.get(target.replace("BUCKET", bucket_id), "X-Namespace: default")
    assert (status, answer["error"]["type"]) == (404, "NotFoundError")


def test_the_usual_spellings_are_served(wire: Wire, bucket_id: str) -> None:
    for target in (
        "/v1/buckets",
        f"/v1/buckets/{bucket_id}/objects",
        f"/v1/buckets/%{ord(bucket_id[0]):02X}{bucket_id[1:]}",
        "/v1/buckets/papers?limit=%31",
        "http://keystage.example/v1/buckets?limit=1",
        "http://somebody.else/v1/buckets",
    ):
        assert wire.get(target, "X-Namespace: default")[0] == 200, target


def test_a_name_with_an_underscore_is_no_header(wire: Wire, account: Account, bucket_id: str) -> None:
    def listed(*headers: str) -> list[str]:
        status, answer = wire.get("/v1/buckets", *headers)
        assert status == 200
        return [one["bucket_id"] for one in answer["results"]]

    for headers in (
        ("X-Namespace: default", "X_Namespace: second"),
        ("X_Namespace: second", "X-Namespace: default"),
        ("X_NAMESPACE: second", "x-namespace: default"),
    ):
        assert listed(*headers) == [bucket_id]
    assert wire.get("/v1/buckets", "X_Namespace: default")[0] == 400
    assert wire.get("/v1/me", f"Authorization_: Bearer {account.key}", keyed=False)[0] == 401
    for number, header in enumerate(("Idempotency_Key", "Idempotency-Key")):
        made = [
            wire.get("/v1/buckets", "X-Namespace: second", f"{header}: k", body={**BUCKET, "bucket_name": f"n{number}"})
            for _ in range(2)
        ]
        assert [status for status, _ in made] == [200, 409 if number == 0 else 200]
    answer = wire.get("/v1/buckets/none", "X-Namespace: default", "X_Request_ID: theirs", "X-Request-ID: ours")[1]
    assert answer["request_id"] == "ours"
    assert wire.get("/v1/buckets/none", "X-Namespace: default", "X_Request_ID: theirs")[1]["request_id"] != "theirs"


@pytest.mark.parametrize("name", ["Authorization", "X-Namespace", "Idempotency-Key", "Host"])
def test_a_header_that_stands_twice_is_refused_by_name(wire: Wire, account: Account, name: str) -> None:
    value = {"Authorization": f"Bearer {account.key}", "X-Namespace": "default"}.get(name, "x")
    others = [] if name == "X-Namespace" else ["X-Namespace: default"]
    twice = [f"{name}: {value}", f"{name.lower()}: {value}"]
    status, answer = wire.get("/v1/buckets", *others, *twice, keyed=name != "Authorization")
    assert (status, answer["error"]["type"]) == (400, "BadRequestError")
    assert f"The header {name} stands in the request twice" in answer["error"]["message"]


def test_a_key_with_a_blank_behind_it_or_in_lower_case_scheme_is_read(wire: Wire, account: Account) -> None:
    for header in (f"authorization: bearer {account.key}", f"Authorization:   Bearer   {account.key}  "):
        assert wire.get("/v1/me", header, keyed=False)[0] == 200
