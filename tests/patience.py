"""A bound that is set from outside a call: it tells one that comes back from one that hangs, and nothing finer."""

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

Call = Callable[[], object]

PATIENCE_SECONDS = 12.0
"""Far more than a call may take that is given to it, and far less than any library would take by itself."""


def came_to(call: Call) -> Any:
    """What a call gave or raised. One that did not end came to an AssertionError."""
    return all_came_to([call])[0]


def all_came_to(calls: Sequence[Call]) -> list[Any]:
    """The same of several that are made side by side."""
    outcomes: list[Any] = [AssertionError("the call did not come back")] * len(calls)

    def make(at: int) -> None:
        try:
            outcomes[at] = calls[at]()
        except Exception as error:
            outcomes[at] = error

    threads = [Thread(target=make, args=(at,), daemon=True) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    return outcomes
