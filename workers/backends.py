"""How a worker asks the backends that lie behind Ray. Everybody else is told of them by its heartbeats."""

from core.backends.backend import Backend
from core.backends.watch import Probe
from pipelines.runner import Runner


def through_ray(runner: Runner) -> dict[Backend, Probe]:
    """One question for each of them."""
    return {
        Backend.RAY: runner.probe_ray,
        Backend.VECTORS: runner.probe_vectors,
        Backend.EMBEDDER: runner.probe_inference,
    }
