"""Finds every place where code narrows something to a tenant, and takes one of them away. Reads syntax, never runs it.

A new predicate is found because of its form: nobody has to add it to a list.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOMS = ("core", "workers", "pipelines", "api")

_IDS = frozenset({"internal_id", "namespace_id"})
_TENANT = re.compile(
    r"_?internal_id|namespace_id|_NAMESPACE_ID|_?scope|scopes|environment|bound|visible"
    r"|OrganizationScope|NamespaceScope|ORGANIZATION_COLLECTIONS|SYSTEM_COLLECTIONS"
)
"""What a condition that guards a tenant speaks of."""
_JUDGES = frozenset({"isinstance", "startswith", "fullmatch", "scopes_permit", "any", "all", "bool"})
"""Calls that judge what they are given; to any other the tenant is only handed on."""
_MERGES = frozenset({"self._inside", "self._tagged", "within_namespace"})
"""Functions that add the tenant to the argument named last."""
_SPREADS = frozenset({"_scope", "_tenant", "_attempt_of", "narrowed"})
"""What is spread into a filter to narrow it."""
_NAMERS = re.compile(r"(_key|_id|_name|_record|^_pages?)$")
"""Functions that make a key, an id, a name or a record's identity of their arguments."""
_TELLING = frozenset({"bind_unit_of_work", "info", "warning", "error", "exception", "debug"})
"""Calls that only tell: what they are given narrows nothing."""
_ABOUT_TENANTS = frozenset({"api/authorization.py", "core/tenancy/permissions.py"})
"""Modules in which every condition is a predicate."""
_CONSTANT = {"internal_id": "int_everybody", "namespace_id": "ns_everybody"}


@dataclass(frozen=True)
class Mutant:
    """One predicate, and the code without it."""

    path: str
    line: int
    number: int
    """which of the file's predicates it is"""
    rule: str
    code: str
    without: str
    copy: int = 1
    """counts predicates of a file that read alike"""

    @property
    def name(self) -> str:
        """What an exclusion or a report calls it: it stays the same when lines move."""
        again = f" #{self.copy}" if self.copy > 1 else ""
        return f"{self.path}: {self.rule}: {self.code}{again}"


def find(root: Path) -> list[Mutant]:
    """Every predicate of the rooms."""
    paths = sorted(path for room in ROOMS for path in (root / room).rglob("*.py"))
    return [mutant for path in paths for mutant in _find_in(path, str(path.relative_to(root)))]


def without(root: Path, mutant: Mutant) -> ast.Module:
    """The module of a mutant, without its predicate."""
    return _Remover(mutant.path, mutant.number).applied((root / mutant.path).read_text())


def _find_in(path: Path, name: str) -> list[Mutant]:
    remover = _Remover(name, None)
    remover.applied(path.read_text())
    seen = Counter[str]()
    numbered = []
    for mutant in remover.found:
        seen[mutant.name] += 1
        numbered.append(replace(mutant, copy=seen[mutant.name]))
    return numbered


class _Remover(ast.NodeTransformer):
    """Visits a module's predicates in order; removes the one that is wanted, and notes all of them."""

    def __init__(self, path: str, wanted: int | None) -> None:
        self._path = path
        self._wanted = wanted
        self._guards: set[str] = set()
        self.found: list[Mutant] = []

    def applied(self, text: str) -> ast.Module:
        """The module after the removal."""
        module = ast.parse(text)
        self._guards = {
            function.name
            for function in ast.walk(module)
            if isinstance(function, ast.FunctionDef) and any(map(_is_guard, ast.walk(function)))
        } | _IMPORTED_GUARDS
        return ast.fix_missing_locations(self.visit(module))  # type: ignore[no-any-return]

    def _take(self, node: ast.AST, rule: str, code: str, replacement: str) -> bool:
        """Note a predicate; whether it is the one to remove."""
        self.found.append(Mutant(self._path, getattr(node, "lineno", 0), len(self.found), rule, code, replacement))
        return self._wanted == len(self.found) - 1

    # What is not a predicate ------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _called(node) in _TELLING:
            return node
        for index, argument in enumerate(node.args):
            node.args[index] = self._argument(node, argument)
        for keyword in node.keywords:
            keyword.value = self._argument(node, keyword.value)
        if _merges(node) and self._take(node, "merge", ast.unparse(node), ast.unparse(node.args[-1])):
            return self.generic_visit(node.args[-1])
        if _called(node) == "_index" and len(node.args) > 1 and any(word.arg == "unique" for word in node.keywords):
            self._drop_from(node.args, node, "unique index")
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """An error's text says a lot and narrows nothing."""
        return node

    # Rules ------------------------------------------------------------------------------------------

    def _argument(self, call: ast.Call, argument: ast.expr) -> ast.expr:
        """An id of which a key, an id or a name is made; and what of a list a key may see."""
        if isinstance(argument, ast.Attribute) and argument.attr == "visible":
            if self._take(call, "visible", ast.unparse(call), "None"):
                return ast.Constant(None)
        elif (id_name := _id_name(argument)) and _NAMERS.search(_called(call)):
            constant = _CONSTANT[id_name]
            if self._take(call, "argument", ast.unparse(call), constant):
                return ast.Constant(constant)
        return argument

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        """A key of a filter or a record that is the tenant's id, a value that is, and what is spread into it."""
        whole = ast.unparse(node)
        for index, (key, value) in reversed(list(enumerate(zip(node.keys, node.values, strict=True)))):
            if key is None and _last_name(value) in _SPREADS:
                taken = self._take(node, "spread", f"**{ast.unparse(value)} in {whole}", "")
            elif isinstance(key, ast.Constant) and key.value in _IDS:
                taken = self._take(node, "key", f"{key.value} in {whole}", "")
            elif isinstance(key, ast.Constant) and key.value == "_id" and (id_name := _id_name(value)):
                if self._take(node, "_id", whole, _CONSTANT[id_name]):
                    node.values[index] = ast.Constant(_CONSTANT[id_name])
                continue
            else:
                continue
            if taken:
                del node.keys[index], node.values[index]
        return self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """An id in a text: a Redis key, a path, a name."""
        for index, part in reversed(list(enumerate(node.values))):
            if not isinstance(part, ast.FormattedValue):
                continue
            everything = self._path == "core/storage/redis.py"
            if (everything or _id_name(part.value)) and self._take(
                node, "text", f"{{{ast.unparse(part.value)}}} in {ast.unparse(node)}", ""
            ):
                del node.values[index]
        return node

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        """A part of a key in memory, of what is hashed, or of what every document must carry."""
        if isinstance(node.ctx, ast.Load):
            self._drop_from(node.elts, node, "tuple")
        return self.generic_visit(node)

    def _drop_from(self, parts: list[ast.expr], node: ast.expr, rule: str) -> None:
        for index, part in reversed(list(enumerate(parts))):
            is_name = isinstance(part, ast.Constant) and part.value in _IDS
            holds_id = any(_id_name(inner) for inner in ast.walk(part) if isinstance(inner, ast.expr))
            if (is_name or holds_id) and self._take(node, rule, f"{ast.unparse(part)} in {ast.unparse(node)}", ""):
                del parts[index]

    def visit_If(self, node: ast.If) -> ast.AST:
        """A condition that refuses, or chooses the narrower way."""
        if self._narrows(node.test) and self._take(node, "condition", ast.unparse(node.test), "False"):
            node.test = ast.Constant(False)
        return self.generic_visit(node)

    def visit_For(self, node: ast.For) -> ast.AST:
        """A condition on each of a tenant's fields."""
        for step in node.body:
            if _is_guard(node) and isinstance(step, ast.If) and not _speaks_of_tenant(step.test):
                code = f"{ast.unparse(step.test)} for each of {ast.unparse(node.iter)}"
                if self._take(step, "condition", code, "False"):
                    step.test = ast.Constant(False)
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        """The narrower of two scopes."""
        arms = (node.body, node.orelse)
        if all(_last_name(arm) in {"scope", "organization"} for arm in arms) and self._take(
            node, "narrower", ast.unparse(node), ast.unparse(node.orelse)
        ):
            return node.orelse
        return self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """A condition on what is chosen."""
        for index, test in reversed(list(enumerate(node.ifs))):
            if self._narrows(test) and self._take(test, "chosen", ast.unparse(test), "True"):
                del node.ifs[index]
        return self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> ast.AST:
        """A judgement: each condition that is joined to others by `and`."""
        value = node.value
        if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.And):
            for index, test in reversed(list(enumerate(value.values))):
                code = f"{ast.unparse(test)} in {ast.unparse(value)}"
                if self._narrows(test) and self._take(test, "joined", code, "True"):
                    value.values[index] = ast.Constant(True)
        return self.generic_visit(node)

    def _narrows(self, test: ast.expr) -> bool:
        return self._path in _ABOUT_TENANTS or _speaks_of_tenant(test)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """A call of a function that does nothing but refuse."""
        call = node.value
        if (
            isinstance(call, ast.Call)
            and _called(call) in self._guards
            and self._take(node, "guard", ast.unparse(call), "pass")
        ):
            return ast.Pass()
        return self.generic_visit(node)


_IMPORTED_GUARDS = frozenset({"check_points", "require_agreement", "require_readable"})
"""Functions that refuse, called from other modules than their own."""


def _is_guard(node: ast.AST) -> bool:
    subject = node.test if isinstance(node, ast.If) else node.iter if isinstance(node, ast.For) else None
    return (
        subject is not None
        and (_speaks_of_tenant(subject))
        and any(isinstance(step, ast.Raise) for step in ast.walk(node))
    )


def _speaks_of_tenant(test: ast.expr) -> bool:
    return any(map(_TENANT.fullmatch, _words(test)))


def _words(node: ast.AST) -> Iterator[str]:
    """The names that an expression itself is about; not what it only hands on to a call."""
    if isinstance(node, ast.Name):
        yield node.id
    if isinstance(node, ast.Attribute):
        yield node.attr
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    handed_on = isinstance(node, ast.Call) and _called(node) not in _JUDGES
    for part in [node.func] if isinstance(node, ast.Call) and handed_on else ast.iter_child_nodes(node):
        yield from _words(part)


def _id_name(node: ast.AST) -> str | None:
    """Which of the two ids an expression reads; None for any other."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        name = node.slice.value if isinstance(node.slice.value, str) else None
    return name if name in _IDS else None


def _merges(call: ast.Call) -> bool:
    return ast.unparse(call.func) in _MERGES


def _called(call: ast.Call) -> str:
    return _last_name(call.func)


def _last_name(node: ast.AST) -> str:
    """The name that an expression ends with; of a call, its function's."""
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
