"""What a caller of the owner of the vectors meets when that ends under an operation, or says nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from core.backends.backend import Backend
from core.errors import ActorLostError, BackendAwayError, ConflictError, UnavailableError
from core.storage.vectors.filters import EVERYTHING
from core.storage.vectors.store import Hit
from pipelines.vectors_actor import READ_SECONDS, WRITE_SECONDS, VectorsProxy


class Owner:
    """An owner that answers as it is told, one time after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: Any) -> None:
        self._outcomes = list(outcomes)
        self.asked: list[tuple[str, float]] = []
        self.options_given: list[dict[str, Any]] = []
        monkeypatch.setattr("pipelines.vectors_actor.result_of", self._result)
        monkeypatch.setattr("pipelines.vectors_actor._AGAIN_SECONDS", 0.0)

    @property
    def do(self) -> "Owner":
        return self

    def options(self, **options: Any) -> "Owner":
        self.options_given.append(options)
        return self

    def remote(self, operation: str, *_: Any) -> str:
        return operation

    def _result(self, operation: str, seconds: float) -> Any:
        self.asked.append((operation, seconds))
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_each_operation_has_its_time_and_is_not_repeated_by_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner(monkeypatch, *[[]] * 3, *[None] * 4, True)
    proxy = VectorsProxy(owner, "ns_1")
    reads: list[Callable[[], Any]] = [
        lambda: proxy.search("ns_1", [], 1),
        lambda: proxy.scroll("ns_1", EVERYTHING, 1),
        lambda: proxy.read_on("ns_1", None, 1),
    ]
    writes: list[Callable[[], Any]] = [
        lambda: proxy.ensure("ns_1", 4),
        lambda: proxy.upsert("ns_1", []),
        lambda: proxy.replace_sparse("ns_1", []),
        lambda: proxy.delete("ns_1", EVERYTHING),
        lambda: proxy.drop("ns_1"),
    ]
    for call in (*reads, *writes):
        call()
    assert [round(seconds) for _, seconds in owner.asked] == [READ_SECONDS] * 3 + [WRITE_SECONDS] * 5
    assert owner.options_given == [{"name": "ns_1", "max_task_retries": 0}] * 8


def test_an_owner_that_says_nothing_is_away_and_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner(monkeypatch, BackendAwayError(Backend.RAY, "did not answer in time", silent=True))
    with pytest.raises(BackendAwayError) as away:
        VectorsProxy(owner, "ns_1").scroll("ns_1", EVERYTHING, 1)
    assert (away.value.backend, away.value.silent) == (Backend.VECTORS, True)


def test_an_owner_that_ended_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Hit("1", 1.0, {})]
    owner = Owner(monkeypatch, ActorLostError(), ActorLostError(), found)
    assert VectorsProxy(owner, "ns_1").scroll("ns_1", EVERYTHING, 1) == found


def test_an_owner_that_is_not_back_in_time_is_away_and_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner(monkeypatch, ActorLostError(), ActorLostError())
    monkeypatch.setattr("pipelines.vectors_actor._AGAIN_SECONDS", 60.0)
    with pytest.raises(BackendAwayError) as away:
        VectorsProxy(owner, "ns_1").scroll("ns_1", EVERYTHING, 1)
    assert (away.value.backend, away.value.silent) == (Backend.VECTORS, False)


def test_an_operation_that_ends_the_owner_each_time_counts_as_its_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner(monkeypatch, *(ActorLostError() for _ in range(3)))
    with pytest.raises(UnavailableError, match="3 times") as failed:
        VectorsProxy(owner, "ns_1").upsert("ns_1", [])
    assert not isinstance(failed.value, BackendAwayError)
    assert len(owner.asked) == 3


def test_what_the_owner_itself_refuses_comes_back_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConflictError):
        VectorsProxy(Owner(monkeypatch, ConflictError()), "ns_1").ensure("ns_1", 4)
