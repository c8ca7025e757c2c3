"""Which records of a list may be shown, by id or name: a part of the query, never a filter after it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Selection:
    """Ids or names, and beginnings of them."""

    names: tuple[str, ...]
    beginnings: tuple[str, ...]

    @staticmethod
    def of(patterns: Iterable[str]) -> "Selection":
        """From ids and names, of which some end with `*`."""
        given = list(patterns)
        return Selection(
            tuple(pattern for pattern in given if not pattern.endswith("*")),
            tuple(pattern[:-1] for pattern in given if pattern.endswith("*")),
        )

    def query(self, *fields: str) -> dict[str, Any]:
        """As a condition on a record's id and name."""
        begins = [re.compile(f"^{re.escape(beginning)}") for beginning in self.beginnings]
        # `$exists` keeps the embedded database from looking a pattern up in an index as if it were a value
        either = [{field: {"$in": [*self.names, *begins], "$exists": True}} for field in fields]
        # one condition stays bare: the embedded database uses no index beside an operator
        return either[0] if len(either) == 1 else {"$or": either}


def narrowed(selection: Selection | None, *fields: str) -> dict[str, Any]:
    """The condition of a selection; nothing without one."""
    return selection.query(*fields) if selection else {}
