"""`python -m tests.side_by_side SUITE`: a suite in several runs of pytest, some at once, for most of a test is waiting.

Each run has servers of its own. What they print is shown whole, one run after the other.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

AT_ONCE, OF_STACKS = 3, 2
"""The tests of tests/e2e start a whole stack each."""
RUNS = 6
"""More than run at once, so that whoever is done early takes another one."""
_NO_TESTS = 5
"""pytest's exit code when it found none, as a share may where some are left out."""


def main(suite: str) -> int:
    """The worst exit code of the runs."""
    started = time.monotonic()
    # by size, so that the long ones do not meet in one run
    files = sorted(Path(suite).glob("test_*.py"), key=lambda path: -path.stat().st_size)
    shares = [share for number in range(RUNS) if (share := files[number::RUNS])]
    with ThreadPoolExecutor(OF_STACKS if suite.endswith("e2e") else AT_ONCE) as pool:
        codes = set(pool.map(_run, shares))
    print(f"{suite}: {time.monotonic() - started:.0f} s", flush=True)
    return max(codes - {_NO_TESTS}, default=_NO_TESTS)


def _run(files: Sequence[Path]) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "--durations=6", *map(str, files)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    # in one piece: another run may print at the same time
    sys.stdout.buffer.write(run.stdout)
    sys.stdout.flush()
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
