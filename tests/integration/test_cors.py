"""What every answer carries: CORS for the origins that are named, security headers, and the request's id, which goes
on to the logs, the doorbell, the job and the webhook.
"""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient
from kombu import Connection

from api.app import build_app
from config.logging_setup import configure_logs
from core.bootstrap import Services, build_services
from core.clock import now
from core.jobs.announcement import events_of
from core.jobs.broker import QUEUES
from core.jobs.job import Decision, JobState
from core.jobs.lane import Lane
from core.webhooks.relay import relay_events
from tests.claiming import claimed
from tests.integration.bodies import WEBHOOK, retriever_body
from tests.integration.conftest import Tenant

APP = "https://app.example.com"
PROXY = "10.0.0.7"
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
REFUSED_ORIGINS = (
    "https://evil.example",
    "https://app.example.com.evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://example.org",
    "null",
    "",
    # what no browser sends and some parsers choke on
    "https://[",
    "https://[::1",
    "https://a]b.example.org",
    "https://evil.example/.example.org",
    "https://evil.example\\.example.org",
)


@pytest.fixture(scope="module")
def special_settings() -> dict[str, Any]:
    return {"cors_allowed_origins": f"{APP},https://*.example.org", "trusted_proxies": "10.0.0.0/8"}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


# CORS -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [APP, "https://a.example.org", "https://a.b.example.org"])
def test_a_browser_of_an_allowed_origin_may_ask_and_read(client: FlaskClient, tenant: Tenant, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
    preflight = client.options("/v1/buckets", headers=asked)
    assert (preflight.status_code, preflight.data) == (204, b"")
    assert preflight.headers["Access-Control-Allow-Origin"] == origin
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    allowed = {name.strip() for name in preflight.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"Authorization", "Content-Type", "Idempotency-Key", "X-Namespace", "X-Request-ID"} <= allowed
    assert int(preflight.headers["Access-Control-Max-Age"]) > 0
    answer = tenant.get("/v1/buckets", Origin=origin)
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Vary"] == "Origin"
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"Retry-After", "X-Request-ID", "Location", "RateLimit", "X-RateLimit-Remaining"} <= exposed
    # no cookie is ever looked at, so none may be sent
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", REFUSED_ORIGINS)
def test_a_browser_of_any_other_origin_reads_nothing(client: FlaskClient, tenant: Tenant, origin: str) -> None:
    for answer in (client.options("/v1/buckets", headers={"Origin": origin}), tenant.get("/v1/buckets", Origin=origin)):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]
        # else a cache gives this answer to an origin that may read it, or the other way round
        assert answer.headers["Vary"] == "Origin"


def test_an_error_can_be_read_by_an_allowed_origin_too(client: FlaskClient, tenant: Tenant) -> None:
    for answer in (
        client.get("/v1/buckets", headers={"Origin": APP}),
        client.get("/v1/nothing", headers={"Origin": APP}),
        tenant.call("PATCH", "/v1/buckets", Origin=APP),
        tenant.post("/v1/buckets", {}, Origin=APP),
    ):
        assert answer.status_code >= 400
        assert answer.headers["Access-Control-Allow-Origin"] == APP


def test_without_named_origins_no_answer_speaks_of_them(services: Services) -> None:
    plain = build_services(services.settings.model_copy(update={"cors_allowed_origins": ()}))
    client = build_app(plain).test_client()
    for answer in (client.get("/v1/health/liveness", headers={"Origin": APP}), client.options("/v1/buckets")):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control-") or name == "Vary"]
    plain.close()


# Security headers -------------------------------------------------------------------------------------


def test_every_kind_of_answer_has_the_security_headers(client: FlaskClient, tenant: Tenant) -> None:
    answers = {
        200: tenant.get("/v1/me"),
        204: client.options("/v1/buckets"),
        400: tenant.get("/v1/buckets", X_Namespace=""),
        401: client.get("/v1/me"),
        404: client.get("/nothing"),
        405: tenant.call("PATCH", "/v1/buckets"),
        413: tenant.post("/v1/buckets", {"a": "x" * 1_100_000}),
        415: tenant.client.post("/v1/buckets", data=b"x", headers=tenant.headers),
        422: tenant.post("/v1/buckets", {}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
        assert answer.headers["X-Request-ID"]
        assert "Strict-Transport-Security" not in answer.headers
        assert "Set-Cookie" not in answer.headers


def test_hsts_is_said_over_tls_and_to_nobody_who_only_claims_it(client: FlaskClient) -> None:
    path, claim = "/v1/health/liveness", {"X-Forwarded-Proto": "https"}
    secure = client.get(path, base_url="https://localhost")
    behind = client.get(path, headers=claim, environ_base={"REMOTE_ADDR": PROXY})
    for answer in (secure, behind):
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    plain = client.get(path, headers={"X-Forwarded-Proto": "http"}, environ_base={"REMOTE_ADDR": PROXY})
    for answer in (client.get(path), client.get(path, headers=claim), plain):
        assert "Strict-Transport-Security" not in answer.headers


# Request ids ------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that this process logs meanwhile."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    configure_logs("INFO", "json", "api", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def _lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.parametrize("sent", ["a", "Trace-1.2_3", "x" * 128])
def test_a_sane_request_id_is_echoed_and_logged(tenant: Tenant, log: io.StringIO, sent: str) -> None:
    refused = tenant.get("/v1/buckets/none", X_Request_ID=sent)
    assert (refused.headers["X-Request-ID"], refused.get_json()["request_id"]) == (sent, sent)
    assert [line["request_id"] for line in _lines(log) if line["event"] == "request.handled"] == [sent]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "é", "a;b", "<script>", "a/../b", '{"a":1}'])
def test_any_other_is_replaced_and_never_repeated(tenant: Tenant, log: io.StringIO, sent: str) -> None:
    made = tenant.get("/v1/me", X_Request_ID=sent).headers["X-Request-ID"]
    assert made.startswith("req_")
    (line,) = [line for line in _lines(log) if line["event"] == "request.handled"]
    assert line["request_id"] == made
    assert len({tenant.get("/v1/me").headers["X-Request-ID"] for _ in range(20)}) == 20


def test_the_ids_of_one_request_are_on_no_line_of_the_next(
    tenant: Tenant, log: io.StringIO, client: FlaskClient
) -> None:
    tenant.get("/v1/buckets", X_Request_ID="first")
    client.get("/nothing", headers={"X-Request-ID": "second"})
    first, second = [line for line in _lines(log) if line["event"] == "request.handled"]
    assert {"key_id", "organization_id", "namespace_id"} <= first.keys()
    assert not {"key_id", "organization_id", "namespace_id"} & second.keys()
    assert (first["request_id"], second["request_id"]) == ("first", "second")


def test_a_request_id_travels_to_the_doorbell_the_task_and_the_webhook(tenant: Tenant, services: Services) -> None:
    tenant.created("/v1/organizations/webhooks", WEBHOOK)
    tenant.created("/v1/retrievers", retriever_body())
    with Connection(services.settings.broker) as connection:
        queue = next(each for each in QUEUES if each.name == Lane.INTERACTIVE.queue_name)(connection.default_channel)
        queue.purge()
        accepted = tenant.post(
            "/v1/retrievers/answers/execute", {"inputs": {"query": "?"}}, Prefer="respond-async", X_Request_ID="far-1"
        )
        task = accepted.get_json()
        rung = queue.get(no_ack=True)
    assert rung is not None
    assert rung.headers["request_id"] == "far-1"
    assert rung.headers["namespace_id"] == tenant.scope.namespace_id
    assert task["additional_data"]["request_id"] == "far-1"
    lease = claimed(services.queue, task["task_id"], "test")
    assert lease is not None
    decision = Decision(JobState.SUCCEEDED)
    lease.decide(decision)
    events = events_of(lease.job, decision, now())
    lease.finish(decision, events)
    assert relay_events(services.handles, tenant.scope, events, services.redis, services.clock) == 1
    (event,) = services.handles.organization(tenant.scope)["events"].find({})
    assert json.loads(event["body"])["metadata"]["request_id"] == "far-1"
