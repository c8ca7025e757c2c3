"""Health: for load balancers and people. Needs no key and shows no tenant's anything."""

from api.call import Call, Reply
from api.route import NamespaceMode, Route
from api.schemas.health import AliveView, BackendsView, HealthView
from core.health import Heartbeats
from core.storage.failures import is_backend_failure
from core.storage.probe import blobs_answer, mongo_answers, redis_answers

_AWAY = "does not answer"


def health(call: Call) -> Reply:
    """The published HealthCheckResponse: six booleans, and DEGRADED when one of them is false."""
    services = call.services
    vectors, inference = _workers_say(call)
    data = {
        "cache": redis_answers(services.redis),
        "metadata": mongo_answers(services.database),
        "vector_store": vectors,
        "object_storage": blobs_answer(services.blobs),
        "task_queue": services.doorbell.waiting() is not None,
        "inference": inference,
    }
    errors = {name: _AWAY for name, answers in data.items() if not answers}
    return Reply(HealthView(status="DEGRADED" if errors else "OK", data=BackendsView(**data), errors=errors, meta={}))


def liveness(_: Call) -> Reply:
    """This process runs."""
    return Reply(AliveView(status="OK"))


def readiness(call: Call) -> Reply:
    """Whether requests can be taken: MongoDB answers. Without Redis and workers they still can, only slower."""
    ready = mongo_answers(call.services.database)
    return Reply(AliveView(status="OK" if ready else "UNAVAILABLE"), 200 if ready else 503)


def _workers_say(call: Call) -> tuple[bool, bool]:
    """Whether vectors and inference answered some living worker (design decision 13)."""
    try:
        workers = Heartbeats(call.services.handles, call.services.clock).fresh("worker")
    except Exception as error:
        if not is_backend_failure(error):
            raise
        return False, False
    return any(one.facts["vectors"] for one in workers), any(one.facts["inference"] for one in workers)


_NONE = NamespaceMode.NONE

ROUTES = (
    Route(
        "GET",
        "/v1/health",
        "health.check",
        health,
        None,
        namespace=_NONE,
        answers={200: HealthView},
    ),
    Route(
        "GET",
        "/v1/health/liveness",
        "health.liveness",
        liveness,
        None,
        namespace=_NONE,
        answers={200: AliveView},
    ),
    Route(
        "GET",
        "/v1/health/readiness",
        "health.readiness",
        readiness,
        None,
        namespace=_NONE,
        answers={200: AliveView, 503: AliveView},
    ),
)
