"""The backends that a worker watches, each with a question that shows whether it answers. It decides nothing."""

from collections.abc import Callable

from core.backends.backend import Backend
from core.backends.watch import BackendWatch
from core.bootstrap import Services
from pipelines.runner import Runner


def worker_backends(services: Services, runner: Runner, changed: Callable[[], None]) -> BackendWatch:
    """A watch over them, to be started. `changed` is called when one went away or came back."""
    through_ray = {
        Backend.RAY: runner.probe_ray,
        Backend.VECTORS: runner.probe_vectors,
        Backend.EMBEDDER: runner.probe_inference,
    }
    return BackendWatch({**services.probes.direct(), **through_ray}, changed)
