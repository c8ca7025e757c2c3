"""`python -m tests.side_by_side SUITE`: a suite's files in two runs of pytest at once, for most of a test is waiting.

Each run has servers of its own. What they print is shown whole, one run after the other.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

RUNS = 2
_NO_TESTS = 5
"""pytest's exit code when it found none."""


def main(suite: str) -> int:
    """The worst exit code of the runs."""
    started = time.monotonic()
    files = sorted(Path(suite).glob("test_*.py"), key=lambda path: -path.stat().st_size)
    codes = [_NO_TESTS]
    if files:
        # by size, so that the long ones do not meet in one run
        codes = _run([[str(path) for path in files[number::RUNS]] for number in range(RUNS)])
    print(f"{suite}: {time.monotonic() - started:.0f} s", flush=True)
    return max(codes)


def _run(shares: list[list[str]]) -> list[int]:
    with ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in shares]
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "pytest", "-q", "--durations=6", *share], stdout=output, stderr=subprocess.STDOUT
            )
            for share, output in zip(shares, outputs, strict=True)
        ]
        codes = []
        for run, output in zip(runs, outputs, strict=True):
            codes.append(run.wait())
            output.seek(0)
            sys.stdout.buffer.write(output.read())
            sys.stdout.flush()
    return codes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
