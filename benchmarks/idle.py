"""`python -m benchmarks.idle --minutes n`: a private stack without work, and what each process grows by in an hour.

It tells what grows with time from what grows with the work, which `make soak` prints.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.growth import Watch
from cli.demo.private_stack import private_stack

_SAMPLE_SECONDS = 15.0
_WARM_UP_SHARE = 0.1


def idle(minutes: float) -> None:
    """Watch, and print."""
    with tempfile.TemporaryDirectory(prefix="ks-idle-") as directory:
        data = Path(directory) / "data"
        with private_stack(data):
            watch, started = Watch(data), time.monotonic()
            while (passed := time.monotonic() - started) < minutes * 60:
                # seconds take the place of jobs
                watch.look(int(passed))
                time.sleep(_SAMPLE_SECONDS)
    print(f"{'process':<32}{'KB an hour':>11}{'MB':>18}")
    for each in watch.grown(int(minutes * 60 * _WARM_UP_SHARE)):
        first, last = each.from_to(lambda sample: sample.memory_kb / 1024)
        print(f"{each.name:<32}{each.kb_per_job * 3600:>11.0f}{f'{first:.1f} → {last:.1f}':>18}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20)
    idle(parser.parse_args().minutes)
