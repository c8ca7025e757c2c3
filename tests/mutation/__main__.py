"""`make mutate`: for each guard, a copy of the checkout without it, in which its test must fail."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutation.guards import GUARDS, Guard

_ROOT = Path(__file__).parents[2]
_TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed; a test that cannot run notices nothing."""


def main() -> None:
    """Take every guard away once. Exit code 1 when one was not missed."""
    survived = [guard.name for guard in GUARDS if not _is_missed(guard)]
    print(f"guards removed = {len(GUARDS)}, survived = {len(survived)}", *survived, sep="\n  ")
    sys.exit(1 if survived else 0)


def _is_missed(guard: Guard) -> bool:
    with tempfile.TemporaryDirectory(prefix="ks-mutation-") as directory:
        copy = Path(directory)
        _copy_checkout(copy)
        _remove(guard, copy)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", guard.noticed_by]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        ended = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
    missed = ended.returncode == _TESTS_FAILED
    print(f"{'missed' if missed else 'SURVIVED'}: {guard.name}", flush=True)
    return missed


def _copy_checkout(copy: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(_ROOT / name, copy / name)


def _remove(guard: Guard, copy: Path) -> None:
    path = copy / guard.path
    text = path.read_text()
    if guard.code not in text:
        raise ValueError(f"{guard.path} has no {guard.code!r} any more: say where the guard {guard.name!r} is now")
    path.write_text(text.replace(guard.code, guard.without))


if __name__ == "__main__":
    main()
