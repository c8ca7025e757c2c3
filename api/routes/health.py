"""Health and metrics: for load balancers, Prometheus and people. Shows nothing of any tenant."""

import ipaddress
from collections.abc import Mapping
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
from core.storage.mongo import within
from core.tenancy.permissions import Permission

_AWAY = "does not answer"
_UNKNOWN = "nobody can tell: no worker says that it answers"
_FULL = "is full: nothing can be stored"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SAID_BY_WORKERS = (Backend.VECTORS, Backend.EMBEDDER)
"""By their heartbeats (design decision 13): without a worker nobody can tell."""
_UNPUBLISHED = (Backend.KEY_SERVICE, Backend.RAY)
"""Told only when they are away: the published answer has no place for them."""
_BEAT_SECONDS = 1.0


def health(call: Call) -> Reply:
    """The published HealthCheckResponse: six booleans, and DEGRADED when one of them is false."""
    answers = _look(call)
    errors = _errors(call, answers)
    status: Literal["OK", "DEGRADED"] = "DEGRADED" if errors else "OK"
    return Reply(HealthView(status=status, data=_published(answers), errors=errors, meta={}))


def deep_health(call: Call) -> Reply:
    """The same with what each answer took in milliseconds, the living processes, and what waits."""
    answers = _look(call)
    backends, probes = call.services.backends, call.services.probes
    timed = {
        name.value: TimedAnswerView(ok=ok, ms=round(backends.seconds(name) * 1000, 1))
        for name, ok in answers.items()
        if name not in _UNPUBLISHED
    }
    beats = probes.beats if answers[Backend.MONGO] else []
    missing = sorted(set(ROLES) - {beat.role for beat in beats})
    errors = _errors(call, answers)
    well = not missing and not errors
    return Reply(
        DeepHealthView(
            status="OK" if well else "DEGRADED",
            data=_published(answers),
            errors=errors,
            meta={},
            services=DeepBackendsView(**timed),
            processes=[ProcessView(role=beat.role, at=beat.at) for beat in beats],
            processes_missing=missing,
            doorbells_waiting=probes.doorbells if answers[Backend.BROKER] else None,
        )
    )


def liveness(_: Call) -> Reply:
    """This process runs."""
    return Reply(AliveView(status="OK"))


def readiness(call: Call) -> Reply:
    """Whether requests can be taken: MongoDB answers. Without Redis and workers they still can, only slower."""
    ready = call.services.backends.answers(Backend.MONGO)
    return Reply(AliveView(status="OK" if ready else "UNAVAILABLE"), 200 if ready else 503)


def beat(call: Call) -> Reply:
    """Whether the sweeper lives, which rings again for whatever is due."""
    with within(_BEAT_SECONDS):
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


def _look(call: Call) -> Mapping[Backend, bool]:
    """Whether each answers now: all are asked side by side, and none is waited for longer than the watch waits.

    Of the key service the last word is told: anybody may ask for health, and each call of it may cost money.
    """
    backends = call.services.backends
    found = dict(backends.look(set(Backend) - {Backend.KEY_SERVICE}))
    found[Backend.KEY_SERVICE] = not backends.away({Backend.KEY_SERVICE})
    workers = [beat for beat in call.services.probes.beats if beat.role == "worker"] if found[Backend.MONGO] else []
    for backend in _SAID_BY_WORKERS:
        says_so = any(backend.value not in worker.facts.get("away", ()) for worker in workers)
        found[backend] = found[backend] and says_so
    return found


def _published(answers: Mapping[Backend, bool]) -> BackendsView:
    return BackendsView(**{name.value: ok for name, ok in answers.items() if name not in _UNPUBLISHED})


def _errors(call: Call, answers: Mapping[Backend, bool]) -> dict[str, str]:
    """What does not answer, as the published response names it; and a full disk, whatever it stops."""
    known = call.services.backends.away()
    away = {
        name.value: _UNKNOWN if name in _SAID_BY_WORKERS and name not in known else _AWAY
        for name, ok in answers.items()
        if not ok
    }
    directory = call.services.settings.blobs_dir
    return away | ({"disk": _FULL} if directory and is_full(directory) else {})


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
        hurried=True,
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
    Route("GET", "/v1/health/beat", "health.beat", beat, None, namespace=_NONE, hurried=True, answers={200: BeatView}),
    Route(
        "GET", "/metrics", "metrics.get", metrics, None, namespace=_NONE, answers={200: None}, produces=("text/plain",)
    ),
)
