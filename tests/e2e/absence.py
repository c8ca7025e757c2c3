"""Takes each part away from a running stack, in the middle of a batch and of searches, and prints what follows.

`make absence SECONDS=60` plays all scenes and writes the table of docs/absence.md from what they showed.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from cli.demo.client import RequestFailedError
from tests.e2e.absence_page import write_page
from tests.e2e.figures import ROWS, Figures, broken
from tests.e2e.scene import play
from tests.e2e.world import world


def main() -> None:
    """Play, print each scene as it ends, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--objects", type=int, default=600)
    parser.add_argument("--only", nargs="*", default=[], help="backends, by their names in /v1/health")
    options = parser.parse_args()
    # told to end, it still gives back what it took away, and stops its stack
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows = [row for row in ROWS if not options.only or row.backend.value in options.only]
    played: list[Figures] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="keystage-absence-") as directory, world(Path(directory)) as stage:
        for row in rows:
            try:
                figures = play(stage, row, options.objects, options.seconds)
            except (TimeoutError, RequestFailedError) as error:
                failed = True
                print(json.dumps({"row": row.name, "broken": [f"{type(error).__name__}: {error}"]}), flush=True)
                continue
            played.append(figures)
            problems = broken(figures)
            failed = failed or bool(problems)
            shown = {**asdict(figures), "wrong": len(figures.wrong), "broken": problems[:5]}
            print(json.dumps(shown), flush=True)
    if len(played) == len(ROWS):
        write_page(played, options.objects)
    if not os.environ.get("KEYSTAGE_QDRANT_URL"):
        print("vector_store of a Qdrant server: skipped, KEYSTAGE_QDRANT_URL is not set")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
