"""The list of forms that a database is checked for is that of the stores: none is missing, and none stands there alone.

That each form is checked in the place where it is sent is judged at the end of every test run (tests/conftest.py).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from core.storage.abilities.examination import ABILITIES

CORE = Path(__file__).parents[4] / "core"
READERS = {"abilities", "command_forms.py", "command_log.py"}
"""They read commands, or check databases, and are no store."""


def _operators() -> set[str]:
    """Each operator that is written as a key of a dictionary, or as a variable, by a module that works with MongoDB."""
    return {operator for path in CORE.rglob("*.py") if not READERS & {*path.parts} for operator in _operators_of(path)}


def _operators_of(path: Path) -> Iterator[str]:
    source = path.read_text()
    if "core.storage" not in source and CORE / "storage" not in path.parents:
        return
    for node in ast.walk(ast.parse(source)):
        for key in node.keys if isinstance(node, ast.Dict) else [node]:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                is_key = isinstance(node, ast.Dict) and key.value.startswith("$")
                if is_key or key.value.startswith("$$"):
                    yield key.value


def test_each_operator_of_the_stores_is_checked_and_no_other() -> None:
    checked = {ability.form.partition(".")[2] for ability in ABILITIES if ability.form}
    assert {operator for operator in checked if operator.startswith("$")} == _operators()


def test_each_ability_has_a_name_of_its_own_and_says_what_breaks() -> None:
    names = [ability.name for ability in ABILITIES]
    assert len(set(names)) == len(names)
    for ability in ABILITIES:
        assert ability.breaks.endswith("."), ability.name
        assert ability.form in (None, ability.name)


def test_the_page_of_databases_lists_them_all() -> None:
    page = (CORE.parent / "docs" / "databases.md").read_text()
    listed = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 3]
    assert listed == [f"| `{ability.name}` | {ability.breaks} |" for ability in ABILITIES]
