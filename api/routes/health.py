"""Health and metrics: for load balancers, Prometheus and people. Shows no tenant's anything."""

import ipaddress
import time
from collections.abc import Callable
from typing import Any

from api.call import Call, Reply
from api.route import NamespaceMode, Route
from core.errors import PermissionDeniedError
from core.health import MAX_AGE, Heartbeats
from core.storage.failures import is_backend_failure
from core.storage.probe import blobs_answer, mongo_answers, redis_answers
from core.tenancy.permissions import Permission

_AWAY = "does not answer"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def health(call: Call) -> Reply:
    """The published HealthCheckResponse: six booleans, and DEGRADED when one of them is false."""
    return Reply(_published({name: answers() for name, answers in _checks(call).items()}))


def deep_health(call: Call) -> Reply:
    """The same with what each answer took in milliseconds, the living processes, and what waits."""
    services: dict[str, Any] = {}
    for name, answers in _checks(call).items():
        started = time.monotonic()
        services[name] = {"ok": answers(), "ms": round((time.monotonic() - started) * 1000, 1)}
    beats = _heartbeats(call).fresh()
    processes = [{"role": beat.role, "at": beat.at} for beat in beats]
    waiting = call.services.doorbell.waiting()
    well = all(service["ok"] for service in services.values()) and {beat.role for beat in beats} >= _ROLES
    return Reply(
        {
            **_published({name: service["ok"] for name, service in services.items()}),
            "status": "OK" if well else "DEGRADED",
            "services": services,
            "processes": processes,
            "doorbells_waiting": waiting,
            "processes_missing": sorted(_ROLES - {beat.role for beat in beats}),
        }
    )


def liveness(_: Call) -> Reply:
    """This process runs."""
    return Reply({"status": "OK"})


def readiness(call: Call) -> Reply:
    """Whether requests can be taken: MongoDB answers. Without Redis and workers they still can, only slower."""
    ready = mongo_answers(call.services.database)
    return Reply({"status": "OK"} if ready else {"status": "UNAVAILABLE"}, 200 if ready else 503)


def beat(call: Call) -> Reply:
    """Whether the sweeper lives, which rings again for whatever is due."""
    last = _heartbeats(call).last("sweeper")
    age = (call.services.clock.now() - last.at).total_seconds() if last else None
    running = age is not None and age <= MAX_AGE.total_seconds()
    body = {"beat_running": running, "last_heartbeat": last.at if last else None, "age_seconds": age}
    return Reply(body)


def metrics(call: Call) -> Reply:
    """Prometheus' text format, for the address ranges of KEYSTAGE_METRICS_ALLOW_CIDRS."""
    allowed = [ipaddress.ip_network(cidr) for cidr in call.services.settings.metrics_allow_cidrs]
    try:
        address = ipaddress.ip_address(call.address)
    except ValueError:
        address = None
    if address is None or not any(address in network for network in allowed):
        raise PermissionDeniedError("Metrics may not be read from this address.")
    return Reply(call.services.metrics.text(), headers={"Content-Type": _METRICS_TYPE})


def _published(data: dict[str, bool]) -> dict[str, Any]:
    """The published HealthCheckResponse."""
    errors = {name: _AWAY for name, answers in data.items() if not answers}
    return {"status": "DEGRADED" if errors else "OK", "data": data, "errors": errors, "meta": {}}


def _checks(call: Call) -> dict[str, Callable[[], bool]]:
    """The published six, each as a question."""
    services = call.services
    return {
        "cache": lambda: redis_answers(services.redis),
        "metadata": lambda: mongo_answers(services.database),
        "vector_store": lambda: _some_worker_says(call, "vectors"),
        "object_storage": lambda: blobs_answer(services.blobs),
        "task_queue": lambda: services.doorbell.waiting() is not None,
        "inference": lambda: _some_worker_says(call, "inference"),
    }


def _some_worker_says(call: Call, fact: str) -> bool:
    """Whether it answered some living worker (design decision 13)."""
    try:
        return any(worker.facts[fact] for worker in _heartbeats(call).fresh("worker"))
    except Exception as error:
        if not is_backend_failure(error):
            raise
        return False


def _heartbeats(call: Call) -> Heartbeats:
    return call.services.heartbeats


_ROLES = {"worker", "dispatcher", "sweeper"}
_NONE = NamespaceMode.NONE

ROUTES = (
    Route("GET", "/v1/health", "health.check", health, None, namespace=_NONE),
    Route("GET", "/v1/health/deep", "health.deep", deep_health, Permission.READ, namespace=NamespaceMode.OPTIONAL),
    Route("GET", "/v1/health/liveness", "health.liveness", liveness, None, namespace=_NONE),
    Route("GET", "/v1/health/readiness", "health.readiness", readiness, None, namespace=_NONE),
    Route("GET", "/v1/health/beat", "health.beat", beat, None, namespace=_NONE),
    Route("GET", "/metrics", "metrics.get", metrics, None, namespace=_NONE),
)
