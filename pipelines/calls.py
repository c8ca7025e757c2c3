"""Calls to stage actors, from their sending to their result: who gets them, who waits for what, and what if one ends.

A call under which its actor ended is made once more, alone: so a job that ends actors ends none under its neighbours
twice, and these neither notice nor lose an attempt. It knows nothing of what calls do.
"""

import secrets
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import structlog

from config.beside import beside
from core.backends.backend import Backend
from core.errors import ActorLostError, BackendAwayError, UnavailableError
from core.recent import Recent
from pipelines.actors import CallContext
from pipelines.alone import Alone
from pipelines.cluster import Attachment, Cluster
from pipelines.load import Kind, Turn
from pipelines.remote import CallCancelledError, ended, result_of, send

_SUSPECTS = 1024
_TURN_SECONDS = 0.1
_STOP_SECONDS = 3.0
"""A chain looks ten times a second whether it is to stop, but not within an embedding or a template."""

_STOPPING = {"concurrency_group": Kind.PROBES.value, "max_task_retries": 0}

Arguments = Sequence[Any]

log = structlog.get_logger(__name__)


class Calls:
    """Makes calls for all jobs of this process. Safe to use from several threads.

    Its methods raise what the actor raises, CallCancelledError when told to stop, BackendAwayError when Ray goes away,
    ActorLostError when an actor ended although the call was alone, and UnavailableError for a result that Ray, being
    well, cannot give.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._alone = {kind: Alone(cluster) for kind in Kind}
        self._suspects: Recent[str, bool] = Recent(_SUSPECTS)
        """jobs under which an actor ended although no other call was beside theirs"""

    def one(
        self, kind: Kind, call: CallContext, method: str, arguments: Arguments, should_stop: threading.Event
    ) -> Any:
        """The result of one call, by the actor with the least waiting."""
        if not self._suspects.get(call.job_id, False):
            attachment = self._cluster.attached()
            try:
                with self._watching(attachment):
                    sending = _Sending(kind, call, method, arguments)
                    return self._until_done(attachment, attachment.load.send(kind, sending), sending, should_stop)
            except ActorLostError:
                log.warning("call.actor_ended", job_id=call.job_id, kind=kind.value)
        with self._alone[kind].kept():
            result = self._once_alone(kind, call, method, arguments, should_stop)
        self._suspects.drop(call.job_id)
        return result

    def many(
        self, kind: Kind, call: CallContext, method: str, each: Sequence[Arguments], should_stop: threading.Event
    ) -> Iterator[Any]:
        """The results of calls, each as it is there.

        A call is sent to an actor that has none of its kind, when it is this job's turn: it waits behind no other.
        """
        lost = list(each)
        if not self._suspects.get(call.job_id, False):
            lost = []
            yield from self._side_by_side(kind, call, method, each, lost, should_stop)
        if lost:
            with self._alone[kind].kept():
                for arguments in lost:
                    yield self._once_alone(kind, call, method, arguments, should_stop)
            self._suspects.drop(call.job_id)

    def _side_by_side(
        self,
        kind: Kind,
        call: CallContext,
        method: str,
        each: Sequence[Arguments],
        lost: list[Arguments],
        should_stop: threading.Event,
    ) -> Iterator[Any]:
        """The results of all but the calls under which an actor ended, which are added to `lost`."""
        attachment = self._cluster.attached()
        load, turn, watch = attachment.load, Turn(), self._cluster.watch(attachment)
        waiting = [_Sending(kind, call, method, arguments) for arguments in reversed(each)]
        running = dict[Any, _Sending]()

        def send_what_may_go() -> None:
            while waiting and (sent := load.send_when_idle(kind, turn, waiting[-1])):
                running[sent] = waiting.pop()

        with self._watching(attachment), _stopped_unless_done(running), _in_line(attachment, turn):
            while waiting or running:
                send_what_may_go()
                for reference in _look(running, should_stop) if running else _wait_for_turn(attachment, should_stop):
                    sending = running.pop(reference)
                    try:
                        result = self._result(attachment, reference)
                    except ActorLostError:
                        log.warning("call.actor_ended", job_id=call.job_id, kind=kind.value)
                        lost.append(sending.arguments)
                        continue
                    # while the caller keeps what it was given, no actor idles for it, and nobody waits behind it
                    send_what_may_go()
                    load.leave(turn)
                    yield result
                watch.look()
                load.look()

    def _once_alone(
        self, kind: Kind, call: CallContext, method: str, arguments: Arguments, should_stop: threading.Event
    ) -> Any:
        attachment, sending = self._cluster.attached(), _Sending(kind, call, method, arguments)
        with self._watching(attachment):
            try:
                with self._alone[kind].actor(attachment, should_stop) as actor:
                    return self._until_done(attachment, sending(actor), sending, should_stop)
            except ActorLostError:
                log.warning("call.actor_ended_alone", job_id=call.job_id, kind=kind.value)
                self._suspects.put(call.job_id, True)
                raise

    def _until_done(
        self, attachment: Attachment, reference: Any, sending: "_Sending", should_stop: threading.Event
    ) -> Any:
        running, watch = {reference: sending}, self._cluster.watch(attachment)
        with _stopped_unless_done(running):
            try:
                while not _look(running, should_stop):
                    watch.look()
                    attachment.load.look()
            except CallCancelledError:
                _wait_for_its_end(running)
            del running[reference]
            return self._result(attachment, reference)

    def _result(self, attachment: Attachment, reference: Any) -> Any:
        """What a call that ended gave."""
        try:
            # beside this thread: what a frozen Ray keeps in its object store it gives to nobody
            result = self._cluster.outcome(beside(lambda: result_of(reference), "ray-result"))
        except ActorLostError:
            self._cluster.explain_loss(attachment)
            attachment.load.actor_ended(reference)
            raise
        except BackendAwayError as error:
            attachment.load.done(reference)
            if error.backend is not Backend.RAY or error.silent:
                raise
            # Ray blames itself for a result that cannot be read, too: only its own answer says that it is away
            self._cluster.explain_loss(attachment)
            raise UnavailableError(f"The result of the call cannot be had: {error.message}") from error
        except BaseException:
            attachment.load.done(reference)
            raise
        attachment.load.done(reference)
        return result

    @contextmanager
    def _watching(self, attachment: Attachment) -> Iterator[None]:
        """Attach again before the next call when Ray fails in this one."""
        try:
            yield
        except BackendAwayError as error:
            if error.backend is Backend.RAY:
                self._cluster.lost(attachment)
            raise


class _Sending:
    """A call that can be sent to an actor, and be told to stop then.

    Ray repeats none: under a call that ends actors it would end all calls beside it.
    """

    def __init__(self, kind: Kind, call: CallContext, method: str, arguments: Arguments) -> None:
        self._kind = kind
        self._call = replace(call, call_id=secrets.token_hex(8))
        self._method = method
        self.arguments = arguments
        self._actor: Any = None

    def __call__(self, actor: Any) -> Any:
        """Its reference, after it was sent to this actor."""
        self._actor = actor
        options = {"name": self._call.namespace_id, "concurrency_group": self._kind.value, "max_task_retries": 0}
        return send(getattr(actor, self._method).options(**options), self._call, *self.arguments)

    def stop(self) -> None:
        """Have the actor end it, begun or not. Nothing is waited for."""
        # where Ray went away, the call went with it
        with suppress(BackendAwayError):
            send(self._actor.stop.options(**_STOPPING), self._call.call_id)


def _look(running: Collection[Any], should_stop: threading.Event) -> list[Any]:
    """The calls that ended within a moment. Raises CallCancelledError when told to stop."""
    if should_stop.is_set():
        raise CallCancelledError
    return ended(list(running))


def _wait_for_turn(attachment: Attachment, should_stop: threading.Event) -> list[Any]:
    if should_stop.is_set():
        raise CallCancelledError
    attachment.load.wait(_TURN_SECONDS)
    return []


def _wait_for_its_end(running: Mapping[Any, _Sending]) -> None:
    """Tell a call to stop, and wait a little until it did: a chain's end says what was spent.

    Raises CallCancelledError.
    """
    _stop(running)
    give_up_at = time.monotonic() + _STOP_SECONDS
    while not ended(list(running)):
        if time.monotonic() > give_up_at:
            raise CallCancelledError


def _stop(running: Mapping[Any, _Sending]) -> None:
    for sending in running.values():
        sending.stop()


@contextmanager
def _in_line(attachment: Attachment, turn: Turn) -> Iterator[None]:
    try:
        yield
    finally:
        attachment.load.leave(turn)


@contextmanager
def _stopped_unless_done(running: Mapping[Any, _Sending]) -> Iterator[None]:
    """Stop what is still running when the block is left."""
    try:
        yield
    finally:
        _stop(running)
