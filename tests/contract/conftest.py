"""The choice of tests where an engine is named: the stores' own."""

import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where KEYSTAGE_TEST_ENGINE names an engine, leave out what works on no database with our schema.

    What the examination says of each engine is held to it by `tests/integration/test_engines.py`.
    """
    if "KEYSTAGE_TEST_ENGINE" not in os.environ:
        return
    others = [item for item in items if "database" not in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if "database" in getattr(item, "fixturenames", ())]
