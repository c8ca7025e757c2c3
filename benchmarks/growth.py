"""Watches the processes of a stack: how memory, open files and threads grow with the work. It prints nothing."""

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import psutil

from cli.stack.layout import data_directory, read_json

STORES = frozenset({"mongo", "redis", "ray::Vectors"})
"""Processes whose memory follows the data that they keep."""
_ACTOR = re.compile(r"ray::([A-Z][a-z]+)")
_ANONYMOUS = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)
_MOST_POINTS = 200
"""Samples that a slope is taken from: it looks at every pair."""


@dataclass(frozen=True)
class Sample:
    """One look at one process."""

    jobs: int
    """done so far by the whole stack"""
    memory_kb: float
    """that it made itself: pages of files would move with what other stacks on the machine have open"""
    files: int
    threads: int


@dataclass
class Grown:
    """One process's samples, in order."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    @property
    def kb_per_job(self) -> float:
        """The median of the slopes between all pairs of samples: single jumps of an allocator move it little.

        It is the estimator of Theil and Sen.
        """
        step = -(-len(self.samples) // _MOST_POINTS)
        pairs = combinations(self.samples[::step], 2)
        slopes = [(b.memory_kb - a.memory_kb) / (b.jobs - a.jobs) for a, b in pairs if b.jobs > a.jobs]
        return statistics.median(slopes) if slopes else 0.0

    def from_to(self, measure: Callable[[Sample], float]) -> tuple[float, float]:
        """The median of the first fifth of the samples, and of the last."""
        fifth = max(1, len(self.samples) // 5)
        values = [measure(sample) for sample in self.samples]
        return statistics.median(values[:fifth]), statistics.median(values[-fifth:])


class Watch:
    """Samples every process of one stack, by the name of its service or actor."""

    def __init__(self, data: Path) -> None:
        self._layout = data_directory(data)
        self._grown: dict[tuple[str, int], Grown] = {}

    def look(self, jobs: int) -> None:
        """One sample of each process that runs now."""
        for name, process in self._processes():
            try:
                with process.oneshot():
                    sample = Sample(jobs, _own_kb(process), process.num_fds(), process.num_threads())
            except (psutil.NoSuchProcess, FileNotFoundError):
                continue
            self._grown.setdefault((name, process.pid), Grown(name)).samples.append(sample)

    def grown(self, from_jobs: int) -> Sequence[Grown]:
        """Each process with its samples since so many jobs were done; what lived only for a moment is left out."""
        kept = (Grown(each.name, [s for s in each.samples if s.jobs >= from_jobs]) for each in self._grown.values())
        longest = max(len(each.samples) for each in self._grown.values())
        return sorted((each for each in kept if len(each.samples) > longest // 3), key=lambda each: each.name)

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        services: Mapping[str, Mapping[str, int]] = read_json(self._layout.processes) or {}
        for name, record in services.items():
            process = psutil.Process(record["pid"])
            yield name, process
            for child in process.children(recursive=True):
                yield (_name_in_ray(child) if name == "ray" else f"{name} worker"), child
            supervisor = process.parent()
        if services and supervisor:
            yield "supervisor", supervisor


def _own_kb(process: psutil.Process) -> float:
    if not psutil.LINUX:
        return float(process.memory_full_info().uss / 1024)
    found = _ANONYMOUS.search(Path(f"/proc/{process.pid}/status").read_text())
    if found is None:
        raise psutil.NoSuchProcess(process.pid)
    return float(found[1])


def _name_in_ray(process: psutil.Process) -> str:
    command = process.cmdline() or [process.name()]
    if actor := _ACTOR.match(command[0]):
        return f"ray::{actor[1]}"
    script = next((part for part in command[1:] if part.endswith((".py", "server"))), command[0])
    return f"ray {Path(script if 'python' in command[0] else command[0]).name}"
