"""What can be taken away from a running stack and given back: its servers, the owner of its vectors, what lies outside.

Whatever happens, `give_back` leaves nothing stopped behind.
"""

import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Protocol

import psutil

from tests.gate import Gate, Manner
from tests.servers import Server, free_port
from tests.stack import RunningStack, wait_until

ACTOR = re.compile(r"ray::(?!IDLE|\w*Agent|Dashboard)")
"""How Ray names a worker process that holds an actor; its own agents belong to the raylet."""
_OWNER = re.compile(r"ray::VectorsActor")
"""Its name between two calls; during one, Ray shows the call's."""
_AGAIN_SECONDS = 0.1
_FOUND_SECONDS = 30.0


class Part(Protocol):
    """One of them."""

    def take(self, manner: Manner) -> None:
        """Let it be away."""

    def give_back(self) -> None:
        """Let it come back."""


@contextmanager
def away(part: Part, manner: Manner) -> Iterator[None]:
    """A part is away inside, and back afterwards."""
    try:
        part.take(manner)
        yield
    finally:
        part.give_back()


class SupervisedPart:
    """A server of the embedded stack. Killed, it stays away because its supervisor is held until it is given back."""

    def __init__(self, stack: RunningStack, service: str) -> None:
        self._stack = stack
        self._service = service
        self._stopped: list[psutil.Process] = []

    def take(self, manner: Manner) -> None:
        """Its processes are stopped, or end."""
        processes = family(self._stack.pid(self._service))
        if manner is Manner.FROZEN:
            self._stop(processes)
            return
        self._stop([psutil.Process(self._stack.process.pid)])
        send(processes, signal.SIGKILL)

    def give_back(self) -> None:
        """Its processes go on, or its supervisor does and starts it again."""
        send(self._stopped, signal.SIGCONT)
        self._stopped = []

    def _stop(self, processes: list[psutil.Process]) -> None:
        self._stopped += processes
        send(processes, signal.SIGSTOP)


class VectorOwner:
    """The actor that owns the vectors. Killed, the one that Ray starts in its place is held until it is given back."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._stopped: list[psutil.Process] = []
        self._back = threading.Event()
        self._holder: threading.Thread | None = None

    def take(self, manner: Manner) -> None:
        """Its process is stopped, or ends and has no successor for now."""
        owners = self._owners()
        if manner is Manner.FROZEN:
            self._stop(owners)
            return
        send(owners, signal.SIGKILL)
        self._back.clear()
        self._holder = threading.Thread(target=self._hold_successors, args=(owners,), name="holder of owners")
        self._holder.start()

    def give_back(self) -> None:
        """It goes on, or its successor does."""
        self._back.set()
        if self._holder:
            self._holder.join()
            self._holder = None
        send(self._stopped, signal.SIGCONT)
        self._stopped = []

    def _owners(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []

        def seen() -> bool:
            found.extend(actors(self._stack, _OWNER))
            return bool(found)

        wait_until(seen, _FOUND_SECONDS, "the owner of the vectors to be seen")
        return found

    def _hold_successors(self, killed: list[psutil.Process]) -> None:
        while not self._back.is_set():
            known = {*killed, *self._stopped}
            self._stop([owner for owner in actors(self._stack, _OWNER) if owner not in known])
            self._back.wait(_AGAIN_SECONDS)

    def _stop(self, owners: list[psutil.Process]) -> None:
        self._stopped += owners
        send(owners, signal.SIGSTOP)


class GatedPart:
    """A server that lies outside, behind a gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def take(self, manner: Manner) -> None:
        """The gate shuts."""
        self._gate.shut(manner)

    def give_back(self) -> None:
        """The gate opens."""
        self._gate.open()


class OwnServer:
    """A server that the run itself starts, and after a kill starts again at the same port."""

    def __init__(self, start: Callable[[int], AbstractContextManager[Server]]) -> None:
        self._start = start
        self._port = free_port()
        self._running = ExitStack()
        self._server = self._running.enter_context(start(self._port))
        self._manner: Manner | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return self._server.url

    def take(self, manner: Manner) -> None:
        """Its process is stopped, or ends."""
        self._manner = manner
        if manner is Manner.FROZEN:
            self._server.process.send_signal(signal.SIGSTOP)
        else:
            self._server.process.kill()
            self._server.process.wait()

    def give_back(self) -> None:
        """It goes on, or is started again."""
        if self._manner is Manner.FROZEN:
            self._server.process.send_signal(signal.SIGCONT)
        elif self._manner is Manner.KILLED:
            self._server = self._running.enter_context(self._start(self._port))
        self._manner = None

    def close(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self._server.process.send_signal(signal.SIGCONT)
        self._running.close()


class Together:
    """Several parts as one: what is one server in one installation may be two in this one."""

    def __init__(self, *parts: Part) -> None:
        self._parts = parts

    def take(self, manner: Manner) -> None:
        """All of them."""
        for part in self._parts:
            part.take(manner)

    def give_back(self) -> None:
        """All of them."""
        for part in self._parts:
            part.give_back()


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def actors(stack: RunningStack, named: re.Pattern[str] = ACTOR) -> list[psutil.Process]:
    """The living processes of the stack's Ray that hold an actor, by how Ray names them."""
    return [process for process in family(stack.pid("ray")) if named.match(_name(process))]


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each that still lives."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return next(iter(process.cmdline()), "")
    return ""
