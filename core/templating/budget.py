"""What one rendering may use: steps, characters made, characters given out, and time. Pure; every operation asks it.

The characters made are counted over the whole rendering and never given back, so no trick with variables helps.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from core.errors import StageError

MOST_BITS = 1024
"""The largest whole number: about 300 digits."""


class TemplateBudgetError(StageError):
    """The template takes more than a template may."""

    code = "template_budget"

    def __init__(self, what: str) -> None:
        super().__init__(f"A template used more than its budget of {what}.")
        self._what = what

    def __reduce__(self) -> tuple[object, ...]:
        return (TemplateBudgetError, (self._what,))


@dataclass(frozen=True)
class Limits:
    """The budgets of one rendering."""

    steps: int = 50_000
    """turns of loops, operations, filters, and parts of values that are looked at"""
    characters: int = 4 * 1024 * 1024
    """made by operations and filters, all together"""
    output: int = 1024 * 1024
    """characters of the result"""
    seconds: float = 2.0
    """a net below the others: on an idle machine the steps end first"""


class Budget:
    """One rendering's use of its limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._steps = 0
        self._characters = 0
        self._ends_at = time.monotonic() + limits.seconds

    def step(self, count: int = 1) -> None:
        """Use steps. Raises TemplateBudgetError."""
        self._steps += count
        if self._steps > self._limits.steps:
            raise TemplateBudgetError(f"{self._limits.steps} steps")
        if time.monotonic() > self._ends_at:
            raise TemplateBudgetError(f"{self._limits.seconds:g} seconds")

    def use_characters(self, count: int) -> None:
        """Use memory, before it is taken. Raises TemplateBudgetError."""
        self._characters += count
        if self._characters > self._limits.characters:
            raise TemplateBudgetError(f"{self._limits.characters} characters of memory")

    def check_output(self, length: int) -> None:
        """Raises TemplateBudgetError when the result is too long."""
        if length > self._limits.output:
            raise TemplateBudgetError(f"{self._limits.output} characters of output")

    def made(self, value: Any) -> Any:
        """The value, after its parts were counted: a step for each, and its characters as memory."""
        self.use_characters(self.looked_at(value))
        return value

    def looked_at(self, value: Any) -> int:
        """Use a step for each part of the value; the characters that its texts have."""
        waiting = [value]
        characters = 0
        while waiting:
            self.step()
            part = waiting.pop()
            if isinstance(part, str):
                characters += len(part)
            elif isinstance(part, Mapping):
                waiting += part.keys()
                waiting += part.values()
            elif isinstance(part, Sequence):
                # a list that holds itself twice over and over is small in memory and endless to walk
                self.step(len(part))
                waiting += part
        return characters


_current: ContextVar[Budget] = ContextVar("template_budget")


def current_budget() -> Budget:
    """The budget of the rendering at hand."""
    return _current.get()


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """Let the block's templates use this budget."""
    token = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(token)
