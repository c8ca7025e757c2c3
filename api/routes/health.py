"""Health and metrics: for load balancers, Prometheus and people. Shows nothing of any tenant."""

import ipaddress
import time
from collections.abc import Callable, Mapping
from typing import Literal

from api.call import Call, Reply
from api.route import NamespaceMode, Route
from api.schemas.health import (
    AliveView,
    BackendsView,
    BeatView,
    DeepBackendsView,
    DeepHealthView,
    HealthView,
    ProcessView,
    TimedAnswerView,
)
from core.backends.backend import Backend
from core.errors import PermissionDeniedError
from core.health import MAX_AGE, ROLES
from core.storage.disk import is_full
from core.storage.failures import is_backend_failure
from core.storage.probe import blobs_answer, mongo_answers, redis_answers
from core.tenancy.permissions import Permission

_AWAY = "does not answer"
_FULL = "is full: nothing can be stored"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def health(call: Call) -> Reply:
    """The published HealthCheckResponse: six booleans, and DEGRADED when one of them is false."""
    data = {name: answers() for name, answers in _checks(call).items()}
    errors = _errors(call, data)
    status: Literal["OK", "DEGRADED"] = "DEGRADED" if errors else "OK"
    return Reply(HealthView(status=status, data=BackendsView(**data), errors=errors, meta={}))


def deep_health(call: Call) -> Reply:
    """The same with what each answer took in milliseconds, the living processes, and what waits."""
    timed: dict[str, TimedAnswerView] = {}
    for name, answers in _checks(call).items():
        started = time.monotonic()
        timed[name] = TimedAnswerView(ok=answers(), ms=round((time.monotonic() - started) * 1000, 1))
    beats = call.services.heartbeats.fresh()
    missing = sorted(set(ROLES) - {beat.role for beat in beats})
    data = {name: answer.ok for name, answer in timed.items()}
    errors = _errors(call, data)
    well = not missing and not errors
    return Reply(
        DeepHealthView(
            status="OK" if well else "DEGRADED",
            data=BackendsView(**data),
            errors=errors,
            meta={},
            services=DeepBackendsView(**timed),
            processes=[ProcessView(role=beat.role, at=beat.at) for beat in beats],
            processes_missing=missing,
            doorbells_waiting=call.services.doorbell.waiting(),
        )
    )


def liveness(_: Call) -> Reply:
    """This process runs."""
    return Reply(AliveView(status="OK"))


def readiness(call: Call) -> Reply:
    """Whether requests can be taken: MongoDB answers. Without Redis and workers they still can, only slower."""
    ready = mongo_answers(call.services.database)
    return Reply(AliveView(status="OK" if ready else "UNAVAILABLE"), 200 if ready else 503)


def beat(call: Call) -> Reply:
    """Whether the sweeper lives, which rings again for whatever is due."""
    last = call.services.heartbeats.last("sweeper")
    age = (call.services.clock.now() - last.at).total_seconds() if last else None
    running = age is not None and age <= MAX_AGE.total_seconds()
    return Reply(BeatView(beat_running=running, last_heartbeat=last.at if last else None, age_seconds=age))


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


def _errors(call: Call, data: Mapping[str, bool]) -> dict[str, str]:
    """What does not answer, as the published response names it; and a full disk, whatever it stops."""
    away = {name: _AWAY for name, answers in data.items() if not answers}
    directory = call.services.settings.blobs_dir
    return away | ({"disk": _FULL} if directory and is_full(directory) else {})


def _checks(call: Call) -> dict[str, Callable[[], bool]]:
    """The published six, each as a question."""
    services = call.services
    return {
        "cache": lambda: redis_answers(services.redis),
        "metadata": lambda: mongo_answers(services.database),
        "vector_store": lambda: _answers_some_worker(call, Backend.VECTORS),
        "object_storage": lambda: blobs_answer(services.blobs),
        "task_queue": lambda: services.doorbell.waiting() is not None,
        "inference": lambda: _answers_some_worker(call, Backend.EMBEDDER),
    }


def _answers_some_worker(call: Call, backend: Backend) -> bool:
    """Whether it answered some living worker (design decision 13)."""
    try:
        return any(backend not in worker.facts.get("away", ()) for worker in call.services.heartbeats.fresh("worker"))
    except Exception as error:
        if not is_backend_failure(error):
            raise
        return False


_NONE = NamespaceMode.NONE

ROUTES = (
    Route("GET", "/v1/health", "health.check", health, None, namespace=_NONE, answers={200: HealthView}),
    Route(
        "GET",
        "/v1/health/deep",
        "health.deep",
        deep_health,
        Permission.READ,
        namespace=NamespaceMode.OPTIONAL,
        answers={200: DeepHealthView},
    ),
    Route("GET", "/v1/health/liveness", "health.liveness", liveness, None, namespace=_NONE, answers={200: AliveView}),
    Route(
        "GET",
        "/v1/health/readiness",
        "health.readiness",
        readiness,
        None,
        namespace=_NONE,
        answers={200: AliveView, 503: AliveView},
    ),
    Route("GET", "/v1/health/beat", "health.beat", beat, None, namespace=_NONE, answers={200: BeatView}),
    Route(
        "GET", "/metrics", "metrics.get", metrics, None, namespace=_NONE, answers={200: None}, produces=("text/plain",)
    ),
)
