"""Takes each part away from a running stack, in the middle of a batch and a stream of searches, and prints what follows.

`make absence SECONDS=60` plays all scenes and writes the table of docs/absence.md from what they showed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.e2e.scene import ROWS, Figures, Row, play
from tests.e2e.world import world


def scenes(rows: Sequence[Row], objects: int, seconds: float, directory: Path) -> Iterator[Figures]:
    """Play them on one stack, one after the other."""
    with world(directory) as stage:
        for row in rows:
            yield play(stage, row, objects, seconds)


def broken(figures: Figures) -> list[str]:
    """Which promises were not kept in a scene; bounds of time are nobody's promise here."""
    zeros = ("attempts_beyond_the_first", "not_completed", "lost", "doubled", "holds_open")
    found = [f"{name} = {value}" for name in zeros if (value := getattr(figures, name))]
    if figures.found != figures.expected:
        found.append(f"documents: {figures.found} of {figures.expected}")
    return [*found, *figures.wrong]


def main() -> None:
    """Play, print each scene as it ends, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--objects", type=int, default=600)
    parser.add_argument("--only", nargs="*", default=[], help="backends, by their names in /v1/health")
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.only or row.backend.value in options.only]
    failed = False
    with tempfile.TemporaryDirectory(prefix="keystage-absence-") as directory:
        for figures in scenes(rows, options.objects, options.seconds, Path(directory)):
            problems = broken(figures)
            failed = failed or bool(problems)
            print(json.dumps({**asdict(figures), "wrong": len(figures.wrong), "broken": problems[:5]}), flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
