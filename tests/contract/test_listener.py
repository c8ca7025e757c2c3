"""Celery that listens on a real Redis: it hears doorbells, whatever else is in the queues and however Redis is."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Producer
from redis import Redis

from config.settings import Settings
from core.jobs.broker import QUEUES
from core.jobs.doorbell import Doorbell
from core.jobs.doorbell_message import Rung, body_of, headers_of
from core.jobs.lane import Lane
from tests.servers import free_port, redis_server
from tests.stack import wait_until
from workers.listener import Listener

ROOT = Path(__file__).parents[2]
SECONDS = 30
QUEUE = Lane.INTERACTIVE.queue_name

ENVELOPE: dict[str, Any] = {
    "body": base64.b64encode(json.dumps(body_of("task_a", "ns_a")).encode()).decode(),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": headers_of("task_a", "ns_a", "req_a"),
    "properties": {
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "delivery_mode": 2,
        "delivery_tag": "d9f6",
    },
}
"""What kombu writes into a list of Redis."""


def envelope(**parts: Any) -> bytes:
    """It, otherwise in these parts."""
    return json.dumps({**ENVELOPE, **parts}).encode()


def with_body(body: Any) -> bytes:
    """It, around another body."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return envelope(body=base64.b64encode(text).decode())


def with_properties(**parts: Any) -> bytes:
    """It, with other properties."""
    return envelope(properties={**ENVELOPE["properties"], **parts})


def without(name: str) -> bytes:
    """It, with a part left out."""
    return json.dumps({key: value for key, value in ENVELOPE.items() if key != name}).encode()


NO_DOORBELLS = {
    # no envelope at all
    "text": b"no json", "bytes": b"\xff\xfe\x00", "empty": b"", "deep": b"[" * 100_000, "null": b"null", "number": b"5",
    "string": b'"task_a"', "list": b"[]", "object": b"{}", "type of kombu's": b'{"__type__": "uuid", "__value__": 3}',
    # an envelope of another shape
    "no properties": without("properties"), "properties null": envelope(properties=None),
    "properties list": envelope(properties=[1]), "no tag": envelope(properties={}),
    "headers list": envelope(headers=[1]),
    "no headers": without("headers"), "headers text": envelope(headers="x"), "no body": without("body"),
    "body number": envelope(body=5), "body null": envelope(body=None), "not base64": envelope(body="a"),
    "body as it is": envelope(body="[]"), "body list": envelope(body=[1]),
    "body encoding": with_properties(body_encoding="rot13"), "body encoding list": with_properties(body_encoding=[1]),
    "content type": envelope(**{"content-type": "application/x-python-serialize"}),
    "content type number": envelope(**{"content-type": 5}),
    "no content type": without("content-type"), "charset": envelope(**{"content-encoding": 7}),
    "compression": envelope(headers={**ENVELOPE["headers"], "compression": "application/x-gzip"}),
    "compression unknown": envelope(headers={**ENVELOPE["headers"], "compression": "snail"}),
    "delivery info": with_properties(delivery_info=[1]), "no delivery info": with_properties(delivery_info=None),
    # another message
    "another task": envelope(headers={**ENVELOPE["headers"], "task": "celery.backend_cleanup"}),
    "task number": envelope(headers={**ENVELOPE["headers"], "task": 5}),
    "body no json": with_body(b"{"), "body object": with_body({}), "body too short": with_body([["task_a", "ns_a"]]),
    "body too long": with_body([["task_a", "ns_a"], {}, {}, {}]), "one argument": with_body([["task_a"], {}, {}]),
    "id number": with_body([[1, "ns_a"], {}, {}]), "id null": with_body([[None, "ns_a"], {}, {}]),
    "id object": with_body([[{"$gt": ""}, "ns_a"], {}, {}]), "named argument": with_body([["a", "b"], {"c": 1}, {}]),
}  # fmt: skip


@contextmanager
def consuming(settings: Settings, heard: Callable[[Rung], None]) -> Iterator[tuple[Listener, Callable[[], None]]]:
    """A listener, and what makes it take the next thing; with Celery's own connection and consumer."""
    listener = Listener(settings, heard)
    with listener.app.connection_for_read() as connection:
        consumer = listener.app.amqp.TaskConsumer(
            connection, on_message=listener.take, on_decode_error=_dropping(listener)
        )
        with consumer:
            yield listener, lambda: connection.drain_events(timeout=SECONDS)


def _dropping(listener: Listener) -> Callable[[Any, Exception], None]:
    return lambda _, error: listener.drop(type(error).__name__)


@pytest.mark.parametrize("name", NO_DOORBELLS)
def test_what_is_no_doorbell_is_dropped_and_the_next_is_heard(redis_url: str, name: str) -> None:
    heard: list[Rung] = []
    with Redis.from_url(redis_url) as redis, consuming(_settings(redis_url), heard.append) as (listener, take):
        redis.delete(*(queue.name for queue in QUEUES))
        redis.lpush(QUEUE, NO_DOORBELLS[name])
        redis.lpush(QUEUE, envelope())
        take()
        assert (listener.dropped, heard) == (1, [])
        take()
        assert (listener.dropped, heard) == (1, [Rung(Lane.INTERACTIVE, "task_a")])
        assert redis.llen(QUEUE) == 0


@pytest.mark.parametrize("name", ["another task", "body too short", "id number", "content type", "compression unknown"])
def test_the_same_over_a_broker_that_is_not_redis(name: str) -> None:
    """kombu's own in memory stands for RabbitMQ, which hands messages on in the same form."""
    heard: list[Rung] = []
    listener = Listener(_settings("redis://127.0.0.1:1/0"), heard.append)
    sent = json.loads(NO_DOORBELLS[name])
    with Connection("memory://") as connection:
        queues = [queue(connection.default_channel) for queue in QUEUES]
        for queue in queues:
            queue.declare()
        for raw in (sent, ENVELOPE):
            Producer(connection).publish(
                base64.b64decode(raw["body"]),
                exchange="",
                routing_key=QUEUE,
                content_type=raw["content-type"],
                content_encoding="utf-8",
                headers=raw["headers"],
            )
        with connection.Consumer(queues, on_message=listener.take, on_decode_error=_dropping(listener)):
            for _ in range(2):
                connection.drain_events(timeout=SECONDS)
    assert (listener.dropped, heard) == (1, [Rung(Lane.INTERACTIVE, "task_a")])


class Process:
    """A process that listens, and writes a line for each doorbell it heard."""

    def __init__(self, broker_url: str, path: Path) -> None:
        self._path = path
        program = (
            "import sys; from config.settings import Settings; from workers.listener import Listener\n"
            f"file = open({str(path)!r}, 'w', buffering=1)\n"
            f"listener = Listener(Settings(_env_file=None, redis_url={broker_url!r}),"
            " lambda rung: print(rung.job_id, listener.dropped, file=file))\n"
            "listener.listen('test@here')"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._log = path.with_suffix(".log")
        with self._log.open("w") as log:
            command = [sys.executable, "-c", program]
            self.process = subprocess.Popen(command, env=environment, cwd=path.parent, stdout=log, stderr=log)

    def heard(self) -> list[str]:
        """What it heard: the job's id and how much had been dropped by then."""
        return self._path.read_text().splitlines() if self._path.exists() else []

    def said_of_the_broker(self) -> list[str]:
        """Its lines about it, as far as they are ours."""
        return re.findall(r"backend\.(away|back) .*backend=task_queue", self._log.read_text())

    def end(self) -> int:
        """Tell it to stop; how it ended."""
        assert self.process.poll() is None, "it ended by itself"
        self.process.terminate()
        return self.process.wait(SECONDS)

    def wait_for(self, line: str) -> None:
        """Until it heard this."""
        wait_until(lambda: line in self.heard(), SECONDS, f"{line!r}, heard {self.heard()}")


@contextmanager
def listening(broker_url: str, path: Path) -> Iterator[Process]:
    """A process that listens, and ends in order when it is told to."""
    running = Process(broker_url, path / "heard")
    try:
        yield running
        assert running.end() == 0
    finally:
        running.process.kill()
        running.process.wait()


def test_the_process_lives_on_through_all_of_it(tmp_path: Path) -> None:
    with redis_server(tmp_path) as broker, listening(broker.url, tmp_path) as listener:
        doorbell = Doorbell(broker.url)
        doorbell.ring(Lane.BATCH, "first", "ns_a")
        listener.wait_for("first 0")
        with Redis.from_url(broker.url) as redis:
            for bad in NO_DOORBELLS.values():
                redis.lpush(QUEUE, bad)
        doorbell.ring(Lane.INTERACTIVE, "last", "ns_a")
        listener.wait_for(f"last {len(NO_DOORBELLS)}")
        doorbell.close()


def test_it_starts_before_its_broker_and_outlives_it(tmp_path: Path) -> None:
    port = free_port()
    with listening(f"redis://127.0.0.1:{port}/0", tmp_path) as listener:
        for name in ("first", "second"):
            with redis_server(tmp_path, port) as broker:
                doorbell = Doorbell(broker.url)
                assert doorbell.ring(Lane.BATCH, name, "ns_a")
                listener.wait_for(f"{name} 0")
                doorbell.close()
    # once for each absence between two brokers, however often it was tried; before the first there may be none
    assert listener.said_of_the_broker()[:2] == ["away", "back"]


def test_it_hears_a_broker_that_was_silent(tmp_path: Path) -> None:
    with redis_server(tmp_path) as broker, listening(broker.url, tmp_path) as listener:
        doorbell = Doorbell(broker.url)
        doorbell.ring(Lane.BATCH, "first", "ns_a")
        listener.wait_for("first 0")
        os.kill(broker.process.pid, signal.SIGSTOP)
        assert doorbell.ring(Lane.BATCH, "lost", "ns_a") is False
        os.kill(broker.process.pid, signal.SIGCONT)
        wait_until(lambda: doorbell.ring(Lane.BATCH, "second", "ns_a"), SECONDS, "a ring")
        listener.wait_for("second 0")
        doorbell.close()


def test_it_ends_beside_a_silent_broker(tmp_path: Path) -> None:
    with redis_server(tmp_path) as broker:
        with listening(broker.url, tmp_path) as listener:
            doorbell = Doorbell(broker.url)
            doorbell.ring(Lane.BATCH, "first", "ns_a")
            listener.wait_for("first 0")
            doorbell.close()
            os.kill(broker.process.pid, signal.SIGSTOP)
        os.kill(broker.process.pid, signal.SIGCONT)


def test_a_key_of_another_type_in_place_of_a_queue_ends_nothing(tmp_path: Path) -> None:
    with redis_server(tmp_path) as broker, listening(broker.url, tmp_path) as listener:
        doorbell = Doorbell(broker.url)
        doorbell.ring(Lane.BATCH, "first", "ns_a")
        listener.wait_for("first 0")
        with Redis.from_url(broker.url) as redis:
            redis.set(QUEUE, "no list")
            assert doorbell.ring(Lane.INTERACTIVE, "refused", "ns_a") is False
            redis.delete(QUEUE)
        assert doorbell.ring(Lane.INTERACTIVE, "second", "ns_a")
        listener.wait_for("second 0")
        doorbell.close()


def _settings(redis_url: str) -> Settings:
    return Settings(_env_file=None, redis_url=redis_url)
