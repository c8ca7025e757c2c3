"""The search for canaries in everything that a stack keeps, says or shows. It reads; it changes nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from redis import Redis

from tests.e2e.canary.values import MARKS, Canary, Encoding, forms


@dataclass(frozen=True)
class Sink:
    """One place where a value might have come to lie."""

    kind: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Hit:
    """A canary that was found."""

    kind: str
    name: str
    number: int | None
    """of the canary; None when only a part of its value is there"""
    encoding: Encoding | None


@dataclass(frozen=True)
class Verdict:
    """What a search came to."""

    sinks: int
    bytes: int
    hits: list[Hit]


def search(sinks: Iterable[Sink], canaries: Iterable[Canary]) -> Verdict:
    """Look for every value, and every part of one that has the mark, in every encoding."""
    known, hits, count, size = list(canaries), [], 0, 0
    for sink in sinks:
        count, size = count + 1, size + len(sink.content)
        if any(mark in sink.content for mark in MARKS):
            hits += list(_named(sink, known)) or [Hit(sink.kind, sink.name, None, None)]
    return Verdict(count, size, hits)


def _named(sink: Sink, canaries: Iterable[Canary]) -> Iterator[Hit]:
    for canary in canaries:
        for encoding in Encoding:
            if any(form in sink.content for form in forms(canary.value, encoding)):
                yield Hit(sink.kind, sink.name, canary.number, encoding)


def files(kind: str, directory: Path) -> Iterator[Sink]:
    """Every regular file below a directory, as its bytes are."""
    for path in sorted(directory.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        try:
            # databases make their logs at full size first; what was never written counts for nothing
            content = path.read_bytes().rstrip(b"\0")
        except FileNotFoundError:
            # a running server renames and removes files of its own
            continue
        yield Sink(kind, str(path.relative_to(directory)), content)


def mongo(url: str) -> Iterator[Sink]:
    """Every collection of every database."""
    with MongoClient[RawBSONDocument](url, document_class=RawBSONDocument) as client:
        for database in client.list_database_names():
            for collection in client[database].list_collection_names():
                content = b"\n".join(document.raw for document in client[database][collection].find())
                yield Sink("mongo", f"{database}.{collection}", content)


def redis(url: str) -> Iterator[Sink]:
    """Every key of every database with its whole value."""
    with Redis.from_url(url) as client:
        numbers = [int(name.removeprefix("db")) for name in client.info("keyspace")]
    for number in numbers:
        with Redis.from_url(url, db=number) as client:
            content = b"\n".join(key + b"\n" + _value(client, key) for key in client.scan_iter(count=1000))
            yield Sink("redis", f"database {number}", content)


def _value(client: Any, key: bytes) -> bytes:
    match client.type(key):
        case b"string":
            parts = [client.get(key) or b""]
        case b"list":
            parts = client.lrange(key, 0, -1)
        case b"set":
            parts = client.smembers(key)
        case b"zset":
            parts = client.zrange(key, 0, -1)
        case b"hash":
            parts = [part for pair in client.hgetall(key).items() for part in pair]
        case b"stream":
            parts = [part for _, fields in client.xrange(key) for pair in fields.items() for part in pair]
        case b"none":
            # it expired between its name and its value
            parts = []
        case other:
            raise AssertionError(f"a kind of key that this search cannot read: {other!r}")
    return b"\n".join(parts)


def processes(when: str, running: Iterable[psutil.Process]) -> Iterator[Sink]:
    """What `ps` and /proc show of each process: its command line and its environment."""
    for process in running:
        for file in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{process.pid}/{file}").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                # it ended in between
                continue
            yield Sink("process", f"{when}: {process.pid} {file}", content)
