"""How long Ctrl-C takes: starts the whole embedded stack and stops it, again and again, and prints each figure.

    python -m benchmarks.stop [--times 10] [--data DIR]

It exits with 1 when one of them takes longer than the bar, or leaves a process behind.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.stack import processes_of, running_stack, stderr_file

_BAR_SECONDS = 5.0


def main() -> int:
    """Measure, print, and say whether the bar was met."""
    parser = argparse.ArgumentParser(description="Ctrl-C to exit of `keystage up`, in seconds.")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--data", type=Path, help="The stack's directory; a new one when left out.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ks-stop-") as made:
        data = (given.data or Path(made) / "data").absolute()
        figures = [_stopped(data, number) for number in range(1, given.times + 1)]
    print(json.dumps({"ctrl_c_to_exit_seconds": figures, "longest": max(figures), "bar": _BAR_SECONDS}))
    return int(max(figures) >= _BAR_SECONDS)


def _stopped(data: Path, number: int) -> float:
    """The seconds of one stop, after a start that became ready."""
    with running_stack(data) as stack:
        ray = stack.ray_directory
        said = len(stack.log())
        started = time.monotonic()
        stack.process.send_signal(signal.SIGINT)
        code = stack.process.wait(timeout=120)
        seconds = round(time.monotonic() - started, 2)
    left = processes_of(data, ray)
    phases = [json.loads(line) for line in stderr_file(data).read_text()[said:].splitlines() if line.startswith("{")]
    ended = ", ".join(f"{line['service']} {line['timestamp'][17:22]}" for line in phases if "service" in line)
    print(f"{number:>3}: {seconds:5.2f} s, exit code {code}, {len(left)} processes left ({ended})", flush=True)
    if code or left:
        sys.exit("the stack did not stop in order")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
