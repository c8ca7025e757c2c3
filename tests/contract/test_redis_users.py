"""The Redis users of docker-compose.yml on a real Redis: each does its own work and nothing of another's."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from cli.stack.readiness import accepts
from config.settings import Settings
from core.ids import Prefix, random_id
from core.jobs.doorbell import Doorbell
from core.jobs.doorbell_message import Rung
from core.jobs.lane import Lane
from core.jobs.waiting import tell_waiting
from core.storage.redis import connect_redis, job_done_key, wake_dispatcher
from tests.servers import free_port, wheel_redis
from tests.stack import wait_until
from workers.listener import Listener

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings made of the compose file's secrets, with a Redis that obeys its list of users."""
    directory = tmp_path_factory.mktemp("users") / "secrets"
    subprocess.run(["sh", str(_ROOT / "docs" / "compose-secrets.sh"), str(directory)], check=True)
    port = free_port()
    options = [
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--aclfile",
        str(directory / "redis_users.acl"),
        # newer servers refuse DEBUG to everybody, which would hide what the list of users says of it
        "--enable-debug-command",
        "local",
    ]
    made = Settings(_env_file=None, _secrets_dir=directory)
    urls = {
        name: getattr(made, name).replace("redis:6379", f"127.0.0.1:{port}") for name in ("redis_url", "broker_url")
    }
    process = subprocess.Popen([str(wheel_redis()), *options], cwd=directory.parent, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: accepts(f"127.0.0.1:{port}"), 30, "Redis")
        yield made.model_copy(update=urls)
    finally:
        process.terminate()
        process.wait(10)


def test_nobody_gets_in_without_a_name(settings: Settings) -> None:
    with (
        Redis.from_url("redis://" + settings.redis_url.rpartition("@")[2]) as redis,
        pytest.raises(AuthenticationError),
    ):
        redis.ping()


@pytest.mark.parametrize("lane", Lane)
def test_the_broker_user_rings_waits_and_lets_celery_take(settings: Settings, lane: Lane) -> None:
    doorbell = Doorbell(settings.broker)
    assert doorbell.ring(lane, "task_a", "ns_a")
    assert doorbell.waiting() == 1
    heard: list[Rung] = []
    listener = Listener(settings, heard.append)
    with (
        listener.app.connection_for_read() as connection,
        connection.Consumer(listener.app.conf.task_queues, on_message=listener.take),
    ):
        connection.drain_events(timeout=10)
    assert heard == [Rung(lane, "task_a")]
    doorbell.close()


def test_the_limits_user_signals_waits_and_runs_scripts(settings: Settings) -> None:
    namespace_id, job_id = random_id(Prefix.NAMESPACE), random_id(Prefix.TASK)
    with closing(connect_redis(settings.redis_url)) as redis:
        tell_waiting(redis, namespace_id, job_id)
        assert redis.blpop([job_done_key(namespace_id, job_id)], timeout=5)
        wake_dispatcher(redis)
        script = "redis.call('HSET', KEYS[1], 'n', 1); redis.call('PEXPIRE', KEYS[1], 1000); return redis.call('TIME')"
        assert redis.eval(script, 1, "ks:x:rate:y")


@pytest.mark.parametrize(
    "command",
    [("GET", "keystage.batch"), ("LRANGE", "keystage.interactive", 0, -1), ("KEYS", "*"), ("FLUSHALL",),
     ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("MONITOR",), ("SHUTDOWN",), ("DEBUG", "SLEEP", 0)],
)  # fmt: skip
def test_the_limits_user_may_not(settings: Settings, command: tuple[object, ...]) -> None:
    with closing(connect_redis(settings.redis_url)) as redis, pytest.raises(NoPermissionError):
        redis.execute_command(*command)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "command",
    [("LRANGE", "keystage.jobs", 0, -1),
     ("LRANGE", "ks:ns:done:x", 0, -1), ("DEL", "ks:org:leases"), ("PUBLISH", "ks:deliveries", ""), ("KEYS", "*"),
     ("FLUSHALL",), ("CONFIG", "GET", "*"), ("ACL", "LIST")],
)  # fmt: skip
def test_the_broker_user_may_not(settings: Settings, command: tuple[object, ...]) -> None:
    with closing(connect_redis(settings.broker)) as redis, pytest.raises(NoPermissionError):
        redis.execute_command(*command)  # type: ignore[no-untyped-call]
