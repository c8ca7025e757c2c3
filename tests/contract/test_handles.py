"""The database handles on a real server: what MongoDB refuses, as errors of ours."""

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import PayloadTooLargeError
from core.storage.handles import Handles, ScopedCollection
from core.storage.scope import NamespaceScope

TOO_LARGE = {"_id": "a", "text": "x" * (17 * 1024 * 1024)}


@pytest.mark.parametrize(
    "store",
    [
        lambda rows: rows.insert_one(TOO_LARGE),
        lambda rows: rows.insert_many([TOO_LARGE]),
        lambda rows: rows.replace_many([TOO_LARGE]),
    ],
    ids=["insert_one", "insert_many", "replace_many"],
)
def test_a_document_over_the_limit_is_refused_as_too_large(
    handles: Handles, scope: NamespaceScope, store: Callable[[ScopedCollection], Any]
) -> None:
    with pytest.raises(PayloadTooLargeError):
        store(handles.namespace(scope)["objects"])
