"""Asks for the worker whether Ray, the vectors and the embedder answer, each within a second and a half.

A probe raises BackendAwayError of its backend; of Ray, when Ray is in the way and nobody can tell.
"""

import time
from typing import Any

from core.backends.backend import Backend
from core.backends.watch import PATIENCE_SECONDS
from core.errors import ActorLostError, BackendAwayError
from pipelines.cluster import Attachment, Cluster
from pipelines.load import Kind
from pipelines.remote import ended, result_of, send
from pipelines.vectors_actor import answer_of_owner

_PROBE = {"concurrency_group": Kind.PROBES.value, "max_task_retries": 0}


class Probes:
    """The questions. Safe to ask from several threads."""

    def __init__(self, cluster: Cluster, embedder_is_remote: bool) -> None:
        self._cluster = cluster
        self._embedder = Backend.EMBEDDER if embedder_is_remote else Backend.RAY
        """whose silence it is when no vector comes: a model within the actors is not away while these are busy"""

    def ray(self) -> None:
        """Whether Ray answers."""
        self._cluster.probe()

    def vectors(self) -> None:
        """Whether the vector store answers: the owner of the engine itself, or a server through a stage actor."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        attachment = self._cluster.attached(PATIENCE_SECONDS)
        if attachment.vectors_owner is None:
            self._ask_stages(attachment, "vectors_answer", ends_at, Backend.VECTORS)
            return
        try:
            answer_of_owner(send(attachment.vectors_owner.answers.options(**_PROBE)), _left(ends_at))
        except ActorLostError as error:
            raise BackendAwayError(Backend.VECTORS, "ended, and is not back") from error

    def inference(self) -> None:
        """Whether texts get vectors."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        attachment = self._cluster.attached(PATIENCE_SECONDS)
        self._ask_stages(attachment, "inference_answers", ends_at, self._embedder)

    def _ask_stages(self, attachment: Attachment, method: str, ends_at: float, silent: Backend) -> None:
        """Ask one stage actor. Raises what it raises, and BackendAwayError of `silent` when it says nothing."""

        def ask(actor: Any) -> Any:
            return send(getattr(actor, method).options(**_PROBE))

        reference = attachment.load.send(Kind.PROBES, ask)
        if not ended([reference], _left(ends_at)):
            raise BackendAwayError(silent, "did not answer in time", silent=True)
        try:
            right = result_of(reference, _left(ends_at))
        except ActorLostError as error:
            attachment.load.actor_ended(reference)
            raise BackendAwayError(Backend.RAY, "lost the actor that was asked") from error
        finally:
            attachment.load.done(reference)
        if not right:
            raise BackendAwayError(silent, "gives wrong answers")


def _left(ends_at: float) -> float:
    return max(0.0, ends_at - time.monotonic())
