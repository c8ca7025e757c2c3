"""The doorbell on a real broker that goes away: what it answers then, as intake records first and rings after."""

from pathlib import Path

from core.jobs.doorbell import Doorbell
from tests.servers import free_port, redis_server


def test_ringing_on_a_connection_whose_broker_died_is_answered_and_works_again_later(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port) as broker:
        doorbell = Doorbell(broker.url)
        assert doorbell.ring("task_a", "ns_a")
        assert doorbell.waiting() == 1
    assert doorbell.ring("task_b", "ns_a") is False
    with redis_server(tmp_path, port):
        assert doorbell.ring("task_c", "ns_a")
        assert doorbell.waiting() == 1
    assert doorbell.waiting() is None
    doorbell.close()
