"""The backends that a worker watches, each with a question that shows whether it answers. It decides nothing."""

import secrets
from collections.abc import Callable

from core.backends.backend import Backend
from core.backends.watch import BackendWatch, Probe
from core.bootstrap import Services
from core.errors import BackendAwayError
from core.storage.probe import mongo_answers
from core.vault.kek import KEY_BYTES, KeyEncryption
from core.vault.kek_choice import choose_key_encryption
from pipelines.runner import Runner

_BLOB = "health/probe"
_NOBODY = "probe"
"""Whose key is wrapped to see whether the key service does."""


def worker_backends(services: Services, runner: Runner, changed: Callable[[], None]) -> BackendWatch:
    """A watch over them, to be started. `changed` is called when one went away or came back."""
    key_encryption = choose_key_encryption(services.settings)
    return BackendWatch(
        {
            Backend.RAY: runner.probe_ray,
            Backend.VECTORS: runner.probe_vectors,
            Backend.EMBEDDER: runner.probe_inference,
            Backend.BLOBS: lambda: services.blobs.put(_BLOB, b""),
            Backend.KEY_SERVICE: lambda: _wrap_a_key(key_encryption),
            Backend.MONGO: _asked(Backend.MONGO, lambda: mongo_answers(services.database)),
            Backend.REDIS: services.redis.ping,
            Backend.BROKER: _asked(Backend.BROKER, lambda: services.doorbell.waiting() is not None),
        },
        changed,
    )


def _asked(backend: Backend, answers: Callable[[], bool]) -> Probe:
    def probe() -> None:
        if not answers():
            raise BackendAwayError(backend)

    return probe


def _wrap_a_key(key_encryption: KeyEncryption) -> None:
    key_encryption.wrap(secrets.token_bytes(KEY_BYTES), _NOBODY, 1)
