"""The way to the Ray cluster and its actors: attaches to a running one, again after a restart, and never starts one."""

import logging
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import structlog
from pydantic import SecretStr

from core.errors import UnavailableError
from pipelines.actors import ActorConfig, StageActor
from pipelines.remote import result_of
from pipelines.vectors_actor import VectorsActor

RAY_NAMESPACE = "keystage"
VECTORS_ACTOR = "vectors"
_PROBE_SECONDS = 2.0
_REPOSITORY = Path(__file__).parents[1]
_ACTORS_READY_SECONDS = 60.0
_VECTOR_RETRIES = 5
_STAGE_RETRIES = 2
_GROUPS = {"chains": 2, "extraction": 1, "probes": 1}
"""Threads of a stage actor by kind of call, so that an ingestion holds up neither a query nor a health check."""

log = structlog.get_logger(__name__)


def _our_code_alone() -> Any:
    """A job whose actors import our code from where this process has it.

    Ray would put the directory of the start before it, where people keep a config/ or a core/ of their own.
    """
    from ray.job_config import JobConfig

    class OurCode(JobConfig):  # type: ignore[misc]  # untyped there
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return OurCode(_py_driver_sys_path=[str(_REPOSITORY)])


@dataclass(frozen=True)
class Attachment:
    """The actors of one connection to Ray."""

    stages: tuple[Any, ...]


class Cluster:
    """One process's connection to Ray. Safe to use from several threads."""

    def __init__(
        self,
        address: str,
        token: SecretStr | None,
        tls_environment: Mapping[str, str],
        config: ActorConfig,
        stage_actors: int,
    ) -> None:
        self._address = address
        self._token = token
        self._tls_environment = tls_environment
        self._config = config
        self._stage_actors = stage_actors
        self._attachment: Attachment | None = None
        self._lock = threading.Lock()
        self._turns = count()

    def attached(self) -> Attachment:
        """The actors, after attaching (again) where needed. Not from the main thread: Ray would take over SIGTERM.

        Raises UnavailableError when Ray or an actor does not answer.
        """
        with self._lock:
            if self._attachment is None:
                self._attachment = self._attach()
            return self._attachment

    def next_stage_actor(self) -> tuple[Attachment, Any]:
        """The actor whose turn it is, and the attachment it belongs to."""
        attachment = self.attached()
        return attachment, attachment.stages[next(self._turns) % len(attachment.stages)]

    def probe(self) -> None:
        """Raise UnavailableError when nothing listens at Ray's address."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), _PROBE_SECONDS).close()
        except OSError as error:
            raise UnavailableError(f"Ray at {self._address} does not answer.") from error

    def lost(self, attachment: Attachment) -> None:
        """Say that this attachment failed: the next caller attaches again."""
        with self._lock:
            if self._attachment is attachment:
                self._attachment = None

    def _attach(self) -> Attachment:
        # `ray.init` hangs for minutes at a dead address
        self.probe()
        self._set_environment()
        import ray

        _let_ray_log_as_we_do()
        if ray.is_initialized():
            try:
                return self._find_actors()
            except UnavailableError as error:
                # handles of a Ray that was restarted fail for good; only a new connection helps
                log.info("ray.attaching_again", error=error.message)
                ray.shutdown()
        try:
            ray.init(
                address=self._address,
                job_config=_our_code_alone(),
                namespace=RAY_NAMESPACE,
                log_to_driver=False,
                configure_logging=False,
            )
        except (ConnectionError, RuntimeError) as error:
            raise UnavailableError(f"Ray at {self._address} refused the connection: {error}") from error
        return self._find_actors()

    def _set_environment(self) -> None:
        """Tell Ray how to connect: it reads this when it is imported."""
        # Ray would start a cluster of its own for a call that finds none
        os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
        # and log the errors of calls that nobody waits for any more: what we log of a call we have masked
        os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"
        os.environ.update(self._tls_environment)
        if self._token:
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN"] = self._token.get_secret_value()
        if self._address.startswith("127.0.0.1:"):
            # despite its name it decides on Linux too: without it Ray replaces 127.0.0.1 by the machine's own address
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

    def _find_actors(self) -> Attachment:
        from ray.exceptions import RayError

        try:
            owner = self._vectors_owner() if self._config.vectors_dir else None
            stages = tuple(self._stage_actor(f"stages-{number}", owner) for number in range(self._stage_actors))
            references = [actor.config.options(concurrency_group="probes").remote() for actor in stages]
        except (RayError, ValueError, ConnectionError) as error:
            raise UnavailableError(f"Ray gave no actors: {error}") from error
        for config in result_of(references, timeout=_ACTORS_READY_SECONDS):
            if config != self._config:
                raise UnavailableError("The stage actors were started with other settings: restart Ray.")
        return Attachment(stages)

    def _vectors_owner(self) -> Any:
        import ray

        owner = ray.remote(VectorsActor).options(**_detached(VECTORS_ACTOR, _VECTOR_RETRIES), max_concurrency=8)
        return owner.remote(self._config.vectors_dir, self._config.open_namespaces)

    def _stage_actor(self, name: str, vectors_owner: Any) -> Any:
        import ray

        return (
            ray.remote(concurrency_groups=_GROUPS)(StageActor)
            .options(**_detached(name, _STAGE_RETRIES))
            .remote(self._config, vectors_owner)
        )


def _let_ray_log_as_we_do() -> None:
    """Ray gives its logger a handler of its own at import, which writes neither JSON nor without secrets."""
    logger = logging.getLogger("ray")
    logger.handlers, logger.propagate = [], True


def _detached(name: str, retries: int) -> dict[str, Any]:
    """An actor that outlives its maker, is found by name, and comes back after a crash; its calls are repeatable."""
    return {
        "name": name,
        "namespace": RAY_NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": retries,
    }
