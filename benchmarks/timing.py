"""How long a call takes."""

import statistics
import time
from collections.abc import Callable


def median_ms(call: Callable[[], object], calls: int) -> float:
    """Milliseconds at the median of so many calls, after one that does not count."""
    call()
    durations = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        durations.append(time.perf_counter() - started)
    return 1000 * statistics.median(durations)
