"""Jinja2 cut down to a language over plain JSON values: what a template may say, and the meter in everything it does.

A template is checked against a closed list when it is read, and rewritten so that each loop, list and `~` goes through
the budget. Nothing in it is an object with methods: attributes are looked up in mappings only.
"""

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from core.templating.budget import MOST_BITS, TemplateBudgetError, current_budget
from core.templating.filters import FILTERS, TESTS, as_text, concatenated, each, sliced

NAMES: Final = frozenset({"INPUT", "inputs", "input", "DOC", "doc", "CONTEXT", "context", "STAGE", "stage"})
"""What a template can name besides its own variables. There is no `secrets`."""
MOST_TEMPLATE_CHARACTERS: Final = 32 * 1024
_DEEPEST = 40
_MOST_NODES = 8_000
_MOST_RANGE = 10_000
_OPERATORS = frozenset({"+", "-", "*", "/", "//", "%", "**"})
_METHODS = frozenset({"items", "keys", "values", "get"})
"""Written as methods of a mapping, run as the filters of the same name."""
_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
_JINJAS_OWN = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_EACH, _MADE, _JOINED, _SLICED = "each!", "made!", "joined!", "sliced!"
"""Filters of the rewriting; no template can write these names."""

_ALLOWED: Final = frozenset(
    {
        nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Tuple, nodes.List,
        nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem,
        nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.Not, nodes.And, nodes.Or,
        nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos,
        nodes.For, nodes.If, nodes.Assign,
    }
)  # fmt: skip
"""Everything else is refused: include, import, extends, block, macro, call, filter blocks, do, with, set blocks."""


class TemplateRefusedError(ValueError):
    """The template says something that templates may not say."""


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of all templates. It loads nothing and keeps nothing of a rendering."""

    intercepted_binops = _OPERATORS

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined, autoescape=False, optimized=False, cache_size=0, finalize=_printed, loader=None
        )
        self.globals = {"range": _range}
        self.filters = {name: _metered(code) for name, code in FILTERS.items()}
        self.filters |= {_EACH: each, _MADE: lambda value: current_budget().made(value)}
        self.filters |= {_JOINED: concatenated, _SLICED: sliced}
        self.tests = {name: _metered(code) for name, code in TESTS.items()}
        self.policies.clear()

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a key of a mapping, or one of the numbers of a loop."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`. Only plain values are looked into; the attributes of Python objects do not exist here."""
        current_budget().step()
        if isinstance(obj, LoopContext):
            return getattr(obj, argument) if argument in _LOOP else self.undefined(obj=obj, name=str(argument))
        if isinstance(obj, Mapping) and isinstance(argument, str | int | float):
            return obj[argument] if argument in obj else self.undefined(f"{str(argument)[:80]!r} is not defined")
        if isinstance(obj, str | list | tuple) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
            return obj[argument]
        if isinstance(obj, Undefined):
            return getattr(obj, "_fail_with_undefined_error")()  # noqa: B009 - Jinja's own, by its name
        return self.undefined(f"{str(argument)[:80]!r} is not defined")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operation of plain values, refused before it makes anything large."""
        current_budget().step()
        if isinstance(left, Undefined) or isinstance(right, Undefined):
            return super().call_binop(context, operator, left, right)
        _refuse_large(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        return result if isinstance(result, int | float) else current_budget().made(result)

    def call(__self, __context: Context, __obj: Any, *args: Any, **_: Any) -> Any:  # noqa: N805 - Jinja's own
        """`range` is the only thing that can be called. What Jinja adds inside of loops is not for it."""
        if __obj is not _range:
            raise SecurityError("nothing but range can be called")
        return _range(*args)


def parse(sandbox: Sandbox, text: str) -> nodes.Template:
    """The template's checked and rewritten tree. Raises TemplateRefusedError."""
    if len(text) > MOST_TEMPLATE_CHARACTERS:
        raise TemplateRefusedError(f"a template has at most {MOST_TEMPLATE_CHARACTERS} characters")
    try:
        tree = sandbox.parse(text)
    except TemplateError as error:
        raise TemplateRefusedError(f"this template cannot be read: {str(error.message)[:200]}") from None
    except (RecursionError, MemoryError):
        raise TemplateRefusedError("this template is nested too deeply") from None
    except (ValueError, OverflowError):
        raise TemplateRefusedError("this template has a number that is too large") from None
    _check(tree)
    rewritten: nodes.Template = _Metering().visit(tree)
    return rewritten


def _check(tree: nodes.Template) -> None:
    waiting: list[tuple[nodes.Node, int]] = [(tree, 0)]
    seen = 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_NODES:
            raise TemplateRefusedError("this template is too large or nested too deeply")
        _check_node(node)
        waiting += [(child, depth + 1) for child in node.iter_child_nodes()]


def _check_node(node: nodes.Node) -> None:
    if type(node) not in _ALLOWED:
        raise TemplateRefusedError(f"a template cannot use {type(node).__name__.lower()}")
    match node:
        case nodes.Filter(name=name) if name not in FILTERS:
            raise TemplateRefusedError(f"no such filter: {name[:40]}")
        case nodes.Test(name=name) if name not in TESTS:
            raise TemplateRefusedError(f"no such test: {name[:40]}")
        case nodes.For() if node.recursive:
            raise TemplateRefusedError("a loop cannot be recursive")
        case nodes.Const(value=int(value)) if value.bit_length() > MOST_BITS:
            raise TemplateRefusedError("this template has a number that is too large")
        case nodes.Const(value=float(value)) if not math.isfinite(value):
            # Jinja writes it as a name that does not exist
            raise TemplateRefusedError("this template has a number that is too large")
        case nodes.Call():
            _check_call(node)
        case nodes.Getattr(attr=name) | nodes.Name(name=name) if name.startswith("_"):
            raise TemplateRefusedError("a name cannot begin with an underscore")
        case nodes.Name(name=name) if name in _JINJAS_OWN:
            raise TemplateRefusedError(f"{name} does not exist")
        case nodes.Name(name=name, ctx="store") if name in NAMES or name == "range":
            raise TemplateRefusedError(f"{name} cannot be set")
        case _ if getattr(node, "dyn_args", None) or getattr(node, "dyn_kwargs", None):
            raise TemplateRefusedError("arguments cannot be unpacked")


def _check_call(node: nodes.Call) -> None:
    called = node.node
    is_range = isinstance(called, nodes.Name) and called.name == "range" and not node.kwargs
    is_method = isinstance(called, nodes.Getattr) and called.attr in _METHODS and not node.kwargs
    if node.dyn_args or node.dyn_kwargs or not (is_range or is_method):
        raise TemplateRefusedError("nothing can be called but range() and a mapping's items, keys, values and get")


class _Metering(NodeTransformer):
    """Sends loops, lists, mappings, slices, `~` and methods through filters that use the budget."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja's naming
        self.generic_visit(node)
        node.iter = _through(_EACH, node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through(_JOINED, *node.nodes)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        # Jinja asks the sandbox for an item and not for a slice
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _through(_SLICED, node.node, *(bound or nodes.Const(None) for bound in bounds))

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        called = node.node
        return _through(called.attr, called.node, *node.args) if isinstance(called, nodes.Getattr) else node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through(_MADE, node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through(_MADE, node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return node if node.ctx == "store" else _through(_MADE, node)


def _through(name: str, node: Any, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)


def _metered(code: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(code)
    def metered(*values: Any, **named: Any) -> Any:
        budget = current_budget()
        for value in (*values, *named.values()):
            # what is read is not memory that is made, but looking into it costs a step for each part
            budget.looked_at(value)
        budget.step()
        result = code(*values, **named)
        return result if isinstance(result, Undefined) else budget.made(result)

    return metered


def _refuse_large(operator: str, left: Any, right: Any) -> None:
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if operator == "%" and isinstance(left, str):
        raise SecurityError("texts cannot be formatted with %")
    if operator == "*" and not numbers:
        sizes = [value if isinstance(value, int) else len(value) for value in (left, right) if _has_size(value)]
        if len(sizes) == 2:
            current_budget().use_characters(max(0, sizes[0]) * max(0, sizes[1]))
            current_budget().step(1 if isinstance(left, str) or isinstance(right, str) else max(0, sizes[0] * sizes[1]))
    if isinstance(left, int) and isinstance(right, int):
        bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * max(right, 0)}
        if bits.get(operator, 0) > MOST_BITS:
            raise TemplateBudgetError(f"{MOST_BITS} bits in a number")


def _has_size(value: Any) -> bool:
    return isinstance(value, int | str | list | tuple)


def _range(*bounds: Any) -> range:
    if not all(isinstance(bound, int) for bound in bounds) or not 1 <= len(bounds) <= 3:
        raise SecurityError("range takes whole numbers")
    made = range(*bounds)
    if len(made) > _MOST_RANGE:
        raise TemplateBudgetError(f"{_MOST_RANGE} numbers in a range")
    current_budget().step()
    return made


@pass_context
def _printed(_: Context, value: Any) -> str:
    # taking the context keeps Jinja from working constants out when it compiles, where there is no budget
    budget = current_budget()
    if not isinstance(value, str | Undefined):
        budget.looked_at(value)
    return as_text(value)
