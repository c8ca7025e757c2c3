"""What each engine is known to lack, as `keystage doctor --database` names it, and the mark of tests that meet it."""

from collections.abc import Mapping
from typing import Final

import pytest

from cli.stack.engine import Engine
from tests.servers import ENGINE

LACKS: Final[Mapping[Engine, frozenset[str]]] = {
    Engine.MONGOD: frozenset(),
    Engine.SECANTUSD_PY: frozenset(),
    Engine.SECANTUSD_RS: frozenset(
        {
            "unique.freed_by_set",
            "unique.freed_by_unset",
            "unique.freed_by_replace",
            "unique.freed_by_leaving_a_partial_index",
        }
    ),
}
"""`docs/databases.md` says the same; `tests/integration/test_engines.py` holds each to it."""


def meets(ability: str) -> pytest.MarkDecorator:
    """The mark of a test that needs this ability: it must fail on an engine that is known to lack it."""
    return pytest.mark.xfail(ability in LACKS[ENGINE], reason=f"{ENGINE} lacks {ability}", strict=True)
