"""A customer's template: refused when it is saved if it could not run, rendered within a budget. Knows no secret."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, meta

from core.errors import StageError
from core.plain_values import plain_text
from core.templating.budget import Budget, Limits, spending
from core.templating.sandbox import NAMES, Sandbox, TemplateRefusedError, parse

_DEFAULT_LIMITS = Limits()
_FALSE_WORDS = frozenset({"", "false", "none", "null", "0"})
_sandbox = lru_cache(maxsize=1)(Sandbox)


class Template:
    """A template that was read and may be rendered, from any thread."""

    def __init__(self, text: str, more_names: frozenset[str] = frozenset()) -> None:
        """Read the template. Raises TemplateRefusedError, which says what is wrong."""
        sandbox = _sandbox()
        tree = parse(sandbox, text)
        named, known = frozenset(meta.find_undeclared_variables(tree)), NAMES | more_names
        unknown = sorted(named - known - {"range"})
        if unknown:
            usable = ", ".join(("INPUT", "DOC", "CONTEXT", *sorted(more_names)))
            raise TemplateRefusedError(f"{unknown[0][:40]!r} does not exist: use {usable} or STAGE")
        self.names = named & known
        """which of the given values it uses, as it spells them"""
        try:
            self._compiled = sandbox.from_string(tree)
        except (TemplateError, SyntaxError, RecursionError, MemoryError, ValueError):
            raise TemplateRefusedError("this template cannot be compiled; nest it less") from None

    @property
    def uses_document(self) -> bool:
        """Whether it says anything about the document."""
        return not self.names.isdisjoint({"DOC", "doc"})

    def render(self, values: Mapping[str, Any], limits: Limits = _DEFAULT_LIMITS) -> str:
        """The text for these values (`INPUT`, `DOC`, `CONTEXT`, `STAGE`: plain JSON values).

        Raises StageError, and TemplateBudgetError when the template takes too much.
        """
        budget = Budget(limits)
        pieces: list[str] = []
        length = 0
        try:
            with spending(budget):
                for piece in self._compiled.generate(_spelled(values)):
                    budget.step()
                    length += len(piece)
                    budget.check_output(length)
                    pieces.append(piece)
        except TemplateError as error:
            raise StageError(f"A template failed: {str(error.message)[:200]}") from None
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise StageError(f"A template failed: {type(error).__name__}") from None
        return plain_text("".join(pieces))

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the rendered text says yes: anything but nothing, false, none, null and 0."""
        return self.render(values).strip().lower() not in _FALSE_WORDS


@lru_cache(maxsize=256)
def template(text: str, more_names: frozenset[str] = frozenset()) -> Template:
    """The template of this text, read once. `more_names` are those that its place gives it beside the usual ones.

    Raises TemplateRefusedError.
    """
    return Template(text, more_names)


def _spelled(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under each published spelling of their names."""
    given: dict[str, Any] = {}
    for name, value in values.items():
        given[name] = given[name.lower()] = value
    if "INPUT" in values:
        given["inputs"] = values["INPUT"]
    return given
