"""A connection to MongoDB that breaks at one chosen write: before it lands, or after, when only its answer is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect


@contextmanager
def lost_answer(collection: str, method: str, *, landed: bool) -> Iterator[None]:
    """The next call of pymongo's `method` on this collection loses its answer."""
    whole = getattr(Collection, method)
    calls = 0

    def broken(self: Collection[Any], *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        if self.name != collection or (calls := calls + 1) > 1:
            return whole(self, *arguments, **options)
        if landed:
            whole(self, *arguments, **options)
        raise AutoReconnect("connection closed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collection, method, broken)
        yield
    assert calls > 0, "nothing was written"
