"""Work on several documents after one of them failed for all."""

from functools import partial
from threading import Event

import pytest

from core.errors import StageError
from pipelines.per_document import Manner, at_once


def test_after_a_failure_no_work_is_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        raise StageError("of no use to any of them")

    # who begins them hears of the failure a moment later: once it is luck, a hundred times it is not
    for _ in range(100):
        begun.clear()
        with pytest.raises(StageError):
            at_once([partial(work, number) for number in range(50)], Manner(1, "raise", lambda: None, Event()))
        assert begun == [0]
