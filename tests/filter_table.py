"""The table of `docs/filters.md`, read: what each operator says of each stored value."""

import json
from pathlib import Path
from typing import Any

_PAGE = Path(__file__).parents[1] / "docs" / "filters.md"
_SAYS = {"yes": True, "–": False, "422": None}
ABSENT = "absent"


def stored_values() -> list[dict[str, Any]]:
    """A document for each column: its value in `f`, or no `f` at all."""
    return [{} if cell == ABSENT else {"f": _value(cell)} for cell in _lines()[0][2:]]


def rows() -> list[tuple[dict[str, Any], list[bool | None]]]:
    """Each row: its condition, and for each column whether it passes; None where the condition is refused."""
    return [
        ({"field": "f", "operator": operator.strip("`"), "value": _value(asked)}, [_SAYS[cell] for cell in cells])
        for operator, asked, *cells in _lines()[2:]
    ]


def _value(cell: str) -> Any:
    return json.loads(cell.strip("`"))


def _lines() -> list[list[str]]:
    text = _PAGE.read_text(encoding="utf-8")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
