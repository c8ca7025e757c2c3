"""The way to the Ray cluster and its actors: attaches to a running one, again after a restart, and never starts one."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import structlog
from pydantic import SecretStr

from config.beside import Shared, beside
from core.backends.backend import Backend
from core.errors import ActorLostError, BackendAwayError, UnavailableError
from pipelines.actors import ActorConfig, StageActor
from pipelines.load import THREADS, Kind, Load
from pipelines.ray_probe import RayProbe, RaySession
from pipelines.ray_variables import IN_ANSWERS, NEVER_LEAVE
from pipelines.remote import asking_ray, result_of, send
from pipelines.vectors_actor import VectorsActor

RAY_NAMESPACE = "keystage"
VECTORS_ACTOR = "vectors"
_REPOSITORY = Path(__file__).parents[1]
_ACTORS_READY_SECONDS = 60.0
_ATTACH_SECONDS = 90.0
_LOOK_SECONDS = 2.0
"""How often Ray is asked whether it lives while somebody waits for it: a call to a Ray that died does not fail."""
_MOST_SILENCES = 3
"""Questions in a row that Ray leaves unanswered before a call that is under way is given up; a refusal is enough."""
_OWNER_THREADS = 8
_DYING_SECONDS = 1.0
"""The parts of a Ray that ends do not end at once: an actor's end is told apart from it after so long."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


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
    vectors_owner: Any
    """None with a Qdrant server"""
    session: RaySession
    load: Load = field(compare=False)


class Cluster:
    """One process's connection to Ray. Safe to use from several threads; none of them waits longer than Ray answers."""

    _session: ClassVar[RaySession | None] = None
    """what this process is connected to: Ray has one connection a process"""

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
        self._attaching = Shared(self._attach, "ray-attach")
        self._lock = threading.Lock()
        self._probe = RayProbe(address)

    def attached(self, patience: float = _ATTACH_SECONDS) -> Attachment:
        """The actors, after attaching (again) where needed, in a thread of its own: in the main thread Ray would take
        over SIGTERM.

        Raises BackendAwayError when Ray does not answer, UnavailableError when it gives no actors.
        """
        with self._lock:
            if self._attachment is not None and not self._attachment.load.is_void:
                return self._attachment
            attaching = self._attaching.ask()
        return self.outcome(attaching, patience)

    def outcome(self, future: "Future[T]", patience: float = _ATTACH_SECONDS) -> T:
        """What work beside this thread comes to. Raises BackendAwayError when Ray goes away meanwhile, or is silent."""
        watch = self.watch(None)
        ends_at = time.monotonic() + patience
        while not wait([future], timeout=min(_LOOK_SECONDS, max(0.0, ends_at - time.monotonic()))).done:
            if time.monotonic() >= ends_at:
                raise BackendAwayError(Backend.RAY, "did not answer in time", silent=True)
            watch.look()
        return future.result()

    def watch(self, attachment: Attachment | None) -> "RayWatch":
        """Who waits for a call of this attachment looks through it whether Ray still answers."""
        return RayWatch(self._probe, attachment)

    def probe(self) -> None:
        """Raise BackendAwayError unless Ray answers now, the one that this process is attached to if it is."""
        attachment = self._attachment
        self._set_environment()
        if attachment is None:
            self._probe.session_name()
            return
        try:
            self._probe.still(attachment.session)
        except BackendAwayError as error:
            if not error.silent:
                # nobody tries a job while Ray is away, so no call would find out that this attachment is void
                self.lost(attachment)
            raise

    def explain_loss(self, attachment: Attachment) -> None:
        """Raise BackendAwayError when an actor ended because Ray did; return when Ray is well."""
        self._probe.still(attachment.session)
        time.sleep(_DYING_SECONDS)
        self._probe.still(attachment.session)

    def lost(self, attachment: Attachment) -> None:
        """Say that this attachment failed: the next caller attaches again."""
        with self._lock:
            if self._attachment is attachment:
                self._attachment = None

    def new_stage_actor(self, attachment: Attachment) -> Any:
        """A stage actor of this process's own. It ends with its handle, and is not made again when it ends before."""
        import ray

        actor = ray.remote(concurrency_groups=_groups())(StageActor).options(num_cpus=0)
        return self.outcome(beside(lambda: send(actor, self._config, attachment.vectors_owner), "ray-actor"))

    def _attach(self) -> Attachment:
        # `ray.init` hangs for minutes at a dead address
        self._probe.listens()
        self._set_environment()
        # it takes a second, which is no silence of Ray's
        import ray  # noqa: F401

        session = self._connected(self._probe.session_name())
        attachment = self._find_actors(session)
        with self._lock:
            self._attachment = attachment
        return attachment

    def _connected(self, answering: bytes) -> RaySession:
        """The session of this process, the one that answers: only a new connection leads to a restarted Ray."""
        import ray
        from ray.exceptions import RayError

        _let_ray_log_as_we_do()
        session = Cluster._session
        if ray.is_initialized() and session is not None and session.name == answering:
            self._probe.session = session
            return session
        if ray.is_initialized():
            log.info("ray.attaching_again")
            # the old connection has to be asked nothing any more: some questions end the process
            ray.shutdown()
        try:
            ray.init(
                address=self._address,
                job_config=_our_code_alone(),
                namespace=RAY_NAMESPACE,
                log_to_driver=False,
                configure_logging=False,
            )
        except (RayError, ConnectionError, RuntimeError) as error:
            raise BackendAwayError(Backend.RAY, f"at {self._address} refused the connection: {error}") from error
        Cluster._session = self._probe.session = session = self._new_session()
        return session

    def _set_environment(self) -> None:
        """Tell Ray how to connect: it reads this when it is imported."""
        # Ray would start a cluster of its own for a call that finds none
        os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
        # and log the errors of calls that nobody waits for any more: what we log of a call we have masked
        os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"
        os.environ.update(IN_ANSWERS)
        for name, value in NEVER_LEAVE.items():
            os.environ.setdefault(name, value)
        os.environ.update(self._tls_environment)
        if self._token:
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN"] = self._token.get_secret_value()
        if self._address.startswith("127.0.0.1:"):
            # despite its name it decides on Linux too: without it Ray replaces 127.0.0.1 by the machine's own address
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

    def _find_actors(self, session: RaySession) -> Attachment:
        from ray.exceptions import RayError

        try:
            owner = self._vectors_owner() if self._config.vectors_dir else None
            stages = tuple(self._stage_actor(f"stages-{number}", owner) for number in range(self._stage_actors))
            references = [send(actor.config.options(concurrency_group=Kind.PROBES.value)) for actor in stages]
        except (RayError, ValueError, ConnectionError) as error:
            raise BackendAwayError(Backend.RAY, f"gave no actors: {error}") from error
        try:
            configs = result_of(references, timeout=_ACTORS_READY_SECONDS)
        except ActorLostError as error:
            raise UnavailableError(f"Ray gave no actors: {error.message}") from error
        for config in configs:
            if config != self._config:
                raise UnavailableError("The stage actors were started with other settings: restart Ray.")
        return Attachment(stages, owner, session, Load(stages))

    def _new_session(self) -> RaySession:
        """The Ray that this process was just connected to, which need not be the one that answers by now. Raises
        BackendAwayError."""
        import ray

        with asking_ray("was gone right after it took the connection"):
            own = ray.get_runtime_context().get_node_id()
            node = next((node for node in ray.nodes() if node["NodeID"] == own), None)
        if node is None:
            raise BackendAwayError(Backend.RAY, "does not know the node of this process")
        name = ray._private.worker.global_worker.node.session_name
        return RaySession(name.encode(), own, (node["NodeManagerAddress"], node["NodeManagerPort"]))

    def _vectors_owner(self) -> Any:
        import ray

        owner = ray.remote(concurrency_groups={Kind.PROBES.value: 1})(VectorsActor)
        owner = owner.options(**_detached(VECTORS_ACTOR), max_concurrency=_OWNER_THREADS)
        return owner.remote(self._config.vectors_dir, self._config.open_namespaces)

    def _stage_actor(self, name: str, vectors_owner: Any) -> Any:
        import ray

        return (
            ray.remote(concurrency_groups=_groups())(StageActor)
            .options(**_detached(name))
            .remote(self._config, vectors_owner)
        )


def _let_ray_log_as_we_do() -> None:
    """Ray gives its logger a handler of its own at import, which writes neither JSON nor without secrets."""
    logger = logging.getLogger("ray")
    logger.handlers, logger.propagate = [], True


def _groups() -> dict[str, int]:
    return {kind.value: threads for kind, threads in THREADS.items()}


def _detached(name: str) -> dict[str, Any]:
    """An actor that outlives its maker, is found by name, and comes back after a crash.

    Its calls wait for its return. Those under which it ends are repeated by whoever sent them: Ray would send all of
    them again at once, to end it again.
    """
    return {
        "name": name,
        "namespace": RAY_NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": -1,
    }


class RayWatch:
    """Whether Ray still answers, for one who waits for a call. It asks every two seconds at most."""

    def __init__(self, probe: RayProbe, attachment: Attachment | None) -> None:
        self._probe = probe
        self._attachment = attachment
        self._silences = 0
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def look(self) -> None:
        """Raise BackendAwayError when Ray refuses, was restarted, or was silent for some questions in a row."""
        if time.monotonic() < self._look_at:
            return
        try:
            if self._attachment is None:
                self._probe.listens()
            else:
                self._probe.still(self._attachment.session)
            self._silences = 0
        except BackendAwayError as error:
            self._silences += 1
            if not error.silent or self._silences >= _MOST_SILENCES:
                raise
        self._look_at = time.monotonic() + _LOOK_SECONDS
