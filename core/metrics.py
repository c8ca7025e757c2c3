"""What Prometheus may scrape: requests, refusals, and how jobs and deliveries ended. No tenant is named in it."""

from collections.abc import Collection, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.backends.backend import Backend
from core.backends.watch import BackendWatch
from core.health import ROLES, Heartbeat, Heartbeats
from core.limits.policy import Refused, Verdict
from core.storage.failures import away
from core.storage.mongo import within

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_HEARTBEATS_SECONDS = 1.0
"""How long a scrape waits for MongoDB."""


class Metrics:
    """The counters of one API process."""

    def __init__(self, heartbeats: Heartbeats, backends: BackendWatch) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "keystage_requests", "Answers by route and status.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "keystage_request_seconds", "Time to an answer.", ["route"], buckets=_BUCKETS, registry=self._registry
        )
        self._limited = Counter(
            "keystage_rate_limited", "Requests refused by a limit.", ["policy"], registry=self._registry
        )
        self._registry.register(_Processes(heartbeats, backends))

    def note(self, route: str, status: int, seconds: float, verdict: Verdict | None) -> None:
        """Count one answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if isinstance(verdict, Refused):
            self._limited.labels(verdict.policy.name).inc()

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Processes(Collector):
    """What the other processes say of themselves in their heartbeats, and what this one knows."""

    def __init__(self, heartbeats: Heartbeats, backends: BackendWatch) -> None:
        self._heartbeats = heartbeats
        self._backends = backends

    def collect(self) -> Iterator[Metric]:
        """The living processes, and how what they worked on ended."""
        alive = GaugeMetricFamily("keystage_processes", "Living processes.", labels=["role"])
        ended = CounterMetricFamily("keystage_jobs_ended", "Jobs by how they ended.", labels=["process", "state"])
        dropped = CounterMetricFamily(
            "keystage_doorbells_dropped", "What came from the broker and was no doorbell.", labels=["process"]
        )
        tried = CounterMetricFamily("keystage_attempts", "Webhook attempts by result.", labels=["process", "result"])
        waited = CounterMetricFamily("keystage_jobs_waited", "Jobs that began to wait.", labels=["process", "backend"])
        waiting = GaugeMetricFamily("keystage_jobs_waiting", "Jobs that wait now.", labels=["process", "backend"])
        away = GaugeMetricFamily("keystage_backend_away", "1 while it is away.", labels=["process", "backend"])
        beats = self._beats()
        for role in ROLES:
            alive.add_metric([role], sum(beat.role == role for beat in beats))
        for beat in beats:
            for state, count in beat.facts.get("ended", {}).items():
                ended.add_metric([beat.name, state], count)
            if "doorbells_dropped" in beat.facts:
                dropped.add_metric([beat.name], beat.facts["doorbells_dropped"])
            for result, count in beat.facts.get("attempts", {}).items():
                tried.add_metric([beat.name, result], count)
            for backend, count in beat.facts.get("waited", {}).items():
                waited.add_metric([beat.name, backend], count)
            for backend, count in beat.facts.get("waiting", {}).items():
                waiting.add_metric([beat.name, backend], count)
        for name, absent in self._away(beats):
            for backend in Backend:
                away.add_metric([name, backend], backend in absent)
        yield from (alive, ended, dropped, tried, waited, waiting, away)

    def _away(self, beats: list[Heartbeat]) -> Iterator[tuple[str, Collection[str]]]:
        """Each process that watches backends, and those that it knows to be away."""
        yield "api", self._backends.away()
        yield from ((beat.name, beat.facts["away"]) for beat in beats if "away" in beat.facts)

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering asks no database."""
        return iter(())

    def _beats(self) -> list[Heartbeat]:
        try:
            with within(_HEARTBEATS_SECONDS):
                return self._heartbeats.fresh()
        except Exception as error:
            if away(error) is None:
                raise
            return []
