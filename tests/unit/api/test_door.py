"""What the application is told of a request: one path and one name for each header, or nothing."""

from typing import Any

import pytest

from api.door import NOWHERE, REPEATED, environ_of, path_of


def scope(*headers: tuple[str, str], raw_path: str = "/v1/me") -> dict[str, Any]:
    return {
        "method": "GET",
        "raw_path": raw_path.encode(),
        "query_string": b"a=%2F",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": ("192.0.2.1", 5),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/", "/"),
        ("/v1/buckets", "/v1/buckets"),
        ("/v1/organizations/webhooks/", "/v1/organizations/webhooks/"),
        ("/v1/buckets/50%25", "/v1/buckets/50%"),
        ("/v1/buckets/a%20b+c", "/v1/buckets/a b+c"),
        ("/v1/buckets/a%5Cb", "/v1/buckets/a\\b"),
        ("/v1/buckets/..a", "/v1/buckets/..a"),
        ("/v1/buckets/%C3%A9", "/v1/buckets/é".encode().decode("latin-1")),
        # decoded once: the name has a percent sign in it
        ("/v1/buckets/a%252Fobjects", "/v1/buckets/a%2Fobjects"),
        ("/v1/users/a@example.com;b=1", "/v1/users/a@example.com;b=1"),
    ],
)
def test_a_path_is_decoded_once(raw: str, path: str) -> None:
    assert path_of(raw.encode()) == path


@pytest.mark.parametrize(
    "raw",
    [
        "//v1/buckets", "/v1//buckets", "/v1/buckets//", "//", "///v1/buckets",
        "/v1/./buckets", "/v1/../v1/buckets", "/v1/%2e/buckets", "/v1/%2e%2e/v1/buckets", "/v1/.%2E/buckets", "/..",
        "/v1/buckets/b%2Fobjects", "/v1/buckets/b%2fobjects", "/v1%2Fbuckets", "%2Fv1/buckets", "/%2F",
        "/v1\\buckets", "/v1/buckets/b\\objects",
        "/v1/buckets/b%00", "/v1/buckets/b%0d%0a", "/v1/buckets/%7f",
        "/v1/buckets/b%", "/v1/buckets/b%2", "/v1/buckets/b%zz", "/v1/buckets/%c0%af", "/v1/buckets/%ff",
        "*", "", "v1/buckets",
    ],
)  # fmt: skip
def test_a_path_that_could_be_read_in_two_ways_leads_nowhere(raw: str) -> None:
    assert path_of(raw.encode()) == NOWHERE


@pytest.mark.parametrize(
    "name", ["X_Namespace", "AUTHORIZATION_", "Idempotency_Key", "X_Request_ID", "X_Forwarded_For", "Content_Type"]
)
def test_a_header_whose_name_has_an_underscore_is_not_there(name: str) -> None:
    told = environ_of(scope((name, "theirs")))
    assert "theirs" not in told.values()
    real = name.replace("_", "-").strip("-")
    for order in ((name, "theirs"), (real, "ours")), ((real, "ours"), (name, "theirs")):
        assert "theirs" not in environ_of(scope(*order)).values()
        assert "ours" in environ_of(scope(*order)).values()


@pytest.mark.parametrize("name", ["Authorization", "X-Namespace", "Idempotency-Key", "Host"])
def test_a_header_that_may_stand_once_is_named_when_it_stands_twice(name: str) -> None:
    assert environ_of(scope((name, "a"), (name.lower(), "a")))[REPEATED] == name
    assert environ_of(scope((name, "a"), (name.replace("-", "_") + "_", "b")))[REPEATED] is None


def test_a_header_that_is_a_list_may_stand_twice() -> None:
    told = environ_of(scope(("Prefer", "respond-async"), ("Prefer", "wait=5"), ("X-Forwarded-For", "1"), ("Host", "x")))
    assert (told["HTTP_PREFER"], told[REPEATED]) == ("respond-async,wait=5", None)


def test_nothing_of_the_process_environment_is_taken_for_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_AUTHORIZATION", "Bearer of the environment")
    assert "HTTP_AUTHORIZATION" not in environ_of(scope())
