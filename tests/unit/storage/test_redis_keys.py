"""Redis keys: each says whose it is, so that no two tenants, keys or policies ever share one."""

import inspect
from collections.abc import Callable

import pytest

from core.storage import redis

BUILDERS = [function for name, function in inspect.getmembers(redis, inspect.isfunction) if name.endswith("_key")]


@pytest.mark.parametrize("build", BUILDERS, ids=lambda function: function.__name__)
def test_another_argument_gives_another_key(build: Callable[..., str]) -> None:
    arguments = [f"{name}-1" for name in inspect.signature(build).parameters]
    key = build(*arguments)
    for index in range(len(arguments)):
        assert build(*[*arguments[:index], "another", *arguments[index + 1 :]]) != key
    assert key.startswith("ks:")


def test_no_two_kinds_of_keys_meet() -> None:
    keys = [build(*["x"] * len(inspect.signature(build).parameters)) for build in BUILDERS]
    assert len(BUILDERS) >= 7
    assert len(set(keys)) == len(keys)
