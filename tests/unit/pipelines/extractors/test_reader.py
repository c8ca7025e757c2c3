"""Files are read in a process that can be ended: by its bounds, by a cancelled job, and with whoever started it."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from core.collections.extractor_parameters import TextExtractorParameters
from pipelines.extractors import reader as reader_module
from pipelines.extractors.reader import FileBounds, Reader, resident_mb
from pipelines.extractors.reading_outcome import Cutting, Pieces, Remark, Unreadable
from pipelines.remote import CallCancelledError

ROOT = Path(__file__).parents[4]
PARAMETERS = TextExtractorParameters(chunk_size=50)
SLOW = b"a b " * (12 * 1024 * 1024)
"""Half a second of work at least, most of it in C code."""


def go_on() -> None:
    """Nobody cancels."""


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader(FileBounds(60, 1024))
    yield reader
    reader.close()


def read(reader: Reader, content: bytes, content_type: str = "text/plain", most: int = 100) -> Cutting:
    return reader.read(content, content_type, PARAMETERS, most, go_on)


def process_of(reader: Reader) -> psutil.Process:
    return psutil.Process(reader.process_id)


def test_a_file_is_read_and_cut_as_ever(reader: Reader) -> None:
    assert read(reader, b"One sentence. " * 5) == Pieces(
        ["One sentence. One sentence. One sentence.", "One sentence. One sentence."]
    )
    assert read(reader, b"One sentence. " * 5, most=1) == Pieces(["One sentence. One sentence. One sentence."])
    assert read(reader, b"<h1>Bread</h1><p>Bake it.</p>", "text/html") == Pieces(["# Bread\n\nBake it."])
    guess = read(reader, "Brötchen".encode("latin-1"))
    assert isinstance(guess, Pieces)
    assert guess.texts == ["Brötchen"]
    assert [type(remark) for remark in guess.remarks] == [Remark]
    assert [remark.code for remark in guess.remarks] == ["encoding_guessed"]
    refused = read(reader, b"x", "image/png")
    assert isinstance(refused, Unreadable)
    assert refused.code == "unsupported_content"


def test_a_text_that_needs_no_reading_is_cut_as_it_stands(reader: Reader) -> None:
    text = "<b>Ünïcode \U0001f600</b>"
    assert reader.cut(text, PARAMETERS, 10, go_on) == Pieces([text])


def test_the_process_is_kept_for_the_next_file(reader: Reader) -> None:
    read(reader, b"one")
    first = process_of(reader).pid
    read(reader, b"two")
    assert process_of(reader).pid == first


def test_a_file_that_takes_too_long_is_ended_and_the_next_one_read(reader: Reader) -> None:
    slow = Reader(FileBounds(0.2, 1024))
    try:
        outcome = read(slow, SLOW)
        assert isinstance(outcome, Unreadable)
        assert (outcome.code, outcome.message) == ("took_too_long", "It was not read within 0.2 seconds.")
        assert read(slow, b"next") == Pieces(["next"])
    finally:
        slow.close()


def test_the_bound_holds_in_the_process_itself_whatever_the_parent_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel ends it, so that a frozen or killed actor leaves no process at work."""
    monkeypatch.setattr(reader_module, "_GRACE_SECONDS", 600.0)
    slow = Reader(FileBounds(0.05, 1024))
    try:
        assert isinstance(outcome := read(slow, SLOW), Unreadable)
        assert outcome.code == "took_too_long"
    finally:
        slow.close()


def test_a_stopped_process_is_ended_by_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_GRACE_SECONDS", 0.0)
    frozen = Reader(FileBounds(2, 1024))
    try:
        read(frozen, b"one")
        process = process_of(frozen)
        process.suspend()
        assert isinstance(outcome := read(frozen, b"two"), Unreadable)
        assert outcome.code == "took_too_long"
        process.wait(30)
        assert read(frozen, b"three") == Pieces(["three"])
    finally:
        frozen.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the parent looks at the memory")
@pytest.mark.parametrize("content_type", ["text/plain", "text/html"])
def test_a_file_that_takes_too_much_memory_is_ended_and_the_next_one_read(content_type: str) -> None:
    small = Reader(FileBounds(60, 64))
    try:
        outcome = read(small, SLOW, content_type)
        assert isinstance(outcome, Unreadable)
        assert (outcome.code, outcome.message) == (
            "too_much_memory",
            "To read it took more than 64 MB of memory.",
        )
        assert read(small, b"next") == Pieces(["next"])
    finally:
        small.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the parent looks at the memory")
def test_a_file_that_is_too_large_to_be_taken_in_is_told_as_such() -> None:
    """Before it is read, outside of all that is caught there."""
    small = Reader(FileBounds(60, 8))
    try:
        assert isinstance(outcome := read(small, SLOW), Unreadable)
        assert outcome.code == "too_much_memory"
        assert read(small, b"next") == Pieces(["next"])
    finally:
        small.close()


def test_where_the_kernel_bounds_no_memory_the_parent_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_is_over", lambda pid, _: resident_mb(pid) > 100)
    small = Reader(FileBounds(60, 1024))
    try:
        assert isinstance(outcome := read(small, SLOW), Unreadable)
        assert outcome.code == "too_much_memory"
    finally:
        small.close()
    assert 5 < resident_mb(os.getpid()) <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + 1
    assert resident_mb(2**22 + 1) == 0


def test_a_process_that_somebody_ended_is_replaced_and_the_file_read(reader: Reader) -> None:
    read(reader, b"one")
    first = process_of(reader)
    killer = threading.Timer(0.5, first.send_signal, (signal.SIGKILL,))
    killer.start()
    assert isinstance(read(reader, SLOW[: 8 * 1024 * 1024], most=1), Pieces)
    killer.join()
    first.wait(10)
    assert read(reader, b"two") == Pieces(["two"])
    assert process_of(reader).pid != first.pid


def test_a_cancelled_job_ends_the_process() -> None:
    reader, started = Reader(FileBounds(60, 1024)), time.monotonic()
    read(reader, b"one")
    process = process_of(reader)

    def cancel() -> None:
        if time.monotonic() > started + 0.5:
            raise CallCancelledError

    with pytest.raises(CallCancelledError):
        reader.read(SLOW, "text/plain", PARAMETERS, 10, cancel)
    process.wait(30)


def test_one_file_at_a_time(reader: Reader) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda number: read(reader, f"text {number}".encode()), range(20))
    assert list(found) == [Pieces([f"text {number}"]) for number in range(20)]


def test_the_process_has_nothing_of_our_environment_but_the_marks_of_its_stack(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTAGE_STACK", "/data")
    monkeypatch.setenv("KEYSTAGE_STACK_SERVICE", "ray")
    monkeypatch.setenv("KEYSTAGE_VAULT_KEYS", "k1:secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token")
    read(reader, b"one")
    environment = process_of(reader).environ()
    assert (environment["KEYSTAGE_STACK"], environment["KEYSTAGE_STACK_SERVICE"]) == ("/data", "ray")
    assert set(environment) <= {*reader_module._PASSED_ON, "PYTHONPATH", "MALLOC_ARENA_MAX", "LC_CTYPE"}


@pytest.mark.parametrize("busy", [False, True])
def test_the_process_ends_with_the_one_that_started_it(busy: bool) -> None:
    program = f"""
import sys, time, threading
from tests.unit.pipelines.extractors.test_reader import *
reader = Reader(FileBounds(60, 1024))
read(reader, b"one")
print(reader.process_id, flush=True)
{"read(reader, SLOW)" if busy else "time.sleep(600)"}
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen((sys.executable, "-c", program), stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(30)
