"""`make mutate-tenancy`: takes every tenant predicate away, one at a time, and sees that a test notices. Minutes."""

import argparse
import ast
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path

from tests.mutation.noticing import noticed_by, stale_entries, why_unnoticeable
from tests.mutation.predicates import Mutant, find, without
from tests.mutation.trial import Slot, load_libraries

_ROOT = Path(__file__).parents[2]
_PASSED, _TESTS_FAILED = 0, 1
"""pytest's exit codes. Any other means that the tests could not run, which notices nothing."""
_TAIL = 30

_slot: Slot


@dataclass(frozen=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    code: int
    output: str
    seconds: float

    @property
    def verdict(self) -> str:
        """In one word."""
        return {_PASSED: "SURVIVED", _TESTS_FAILED: "killed"}.get(self.code, f"BROKEN ({self.code})")


def main() -> None:
    """Exit code 1 when a predicate was not missed, or when tests fail without any removal."""
    options = _options()
    every = find(_ROOT)
    if stale := stale_entries([mutant.name for mutant in every]):
        sys.exit(f"UNNOTICEABLE names what is not there any more: {stale}")
    mutants = [mutant for mutant in every if options.only in mutant.name]
    excluded = [mutant for mutant in mutants if why_unnoticeable(mutant.name)]
    tried = [mutant for mutant in mutants if mutant not in excluded]
    if options.list:
        print(*(f"{mutant.line}: {mutant.name}" for mutant in mutants), sep="\n")
        return
    started = time.monotonic()
    load_libraries()
    with _pool(options.slots) as pool:
        if not options.trust:
            files = {test.partition("::")[0] for mutant in tried for test in noticed_by(mutant.path)}
            _require_passing(pool.map, sorted(files))
        trials = [pool.submit(_try, mutant) for mutant in tried]
        results = [_told(trial.result(), options.verbose) for trial in as_completed(trials)]
    _report(results, excluded, time.monotonic() - started)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name has this in it")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("--slots", type=int, default=2, help="how many mutants are tried at the same time")
    parser.add_argument("--trust", action="store_true", help="do not first see that the tests pass by themselves")
    parser.add_argument("--verbose", action="store_true", help="show what the tests said of a mutant that survived")
    return parser.parse_args()


def _pool(slots: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(slots, mp_context=multiprocessing.get_context("fork"), initializer=_open)


def _open() -> None:
    global _slot
    _slot = Slot(_ROOT)
    # at the end of this process of the pool
    Finalize(_slot, _slot.close, exitpriority=1)


def _try(mutant: Mutant) -> Result:
    return _run(mutant, without(_ROOT, mutant), noticed_by(mutant.path))


def _run(mutant: Mutant, module: ast.Module | None, tests: tuple[str, ...]) -> Result:
    started = time.monotonic()
    code, output = _slot.run(mutant.path, module, tests)
    return Result(mutant, code, output, time.monotonic() - started)


def _require_passing(run: Callable[..., Iterable[Result]], tests: list[str]) -> None:
    """A test that fails anyway would notice everything."""
    for result in run(_run_unchanged, tests):
        print(f"unchanged: {result.mutant.path} {result.seconds:.1f} s", flush=True)
        if result.code != _PASSED:
            print(result.output)
            sys.exit(f"{result.mutant.path} does not pass by itself")


def _run_unchanged(tests: str) -> Result:
    return _run(Mutant(tests, 0, 0, "", "", ""), None, (tests,))


def _told(result: Result, verbose: bool) -> Result:
    mutant = result.mutant
    print(
        f"{result.verdict}: {mutant.path}:{mutant.line} {mutant.rule}: {mutant.code[:160]} ({result.seconds:.1f} s)",
        flush=True,
    )
    if verbose and result.code != _TESTS_FAILED:
        print(*result.output.splitlines()[-_TAIL:], sep="\n    ", flush=True)
    return result


def _report(results: list[Result], excluded: list[Mutant], seconds: float) -> None:
    for mutant in excluded:
        print(f"left out: {mutant.name[:160]}: {why_unnoticeable(mutant.name)}")
    survived = [result for result in results if result.code != _TESTS_FAILED]
    print(
        *(f"{rule}: {count}" for rule, count in sorted(Counter(item.mutant.rule for item in results).items())), sep=", "
    )
    print(
        f"predicates = {len(results)}, left out = {len(excluded)}, seconds = {seconds:.0f}, survived = {len(survived)}"
    )
    for result in survived:
        print(f"  {result.verdict}: {result.mutant.path}:{result.mutant.line}: {result.mutant.name}")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
