"""The pure parts of the vector stores: names, locks and fusion."""

import numpy as np
import pytest

from core.storage.vectors.bm25 import document_vector, query_vector
from core.storage.vectors.filters import Equals, Some
from core.storage.vectors.store import (
    Hit,
    Point,
    SparseVector,
    check_points,
    collection_name,
    fuse,
    within_namespace,
)


def hits(names: str) -> list[Hit]:
    """One ranking."""
    return [Hit(name, 1.0, {"name": name}) for name in names]


def test_a_namespace_lives_under_its_own_name() -> None:
    assert collection_name("ns_abc") == "ns_ns_abc"


@pytest.mark.parametrize("bad", ["", "abc", "ns_", "ns_../../etc", "ns_a/b", "ns_a\n", "ns_a.new", "NS_a"])
def test_what_is_no_namespace_id_has_no_place(bad: str) -> None:
    with pytest.raises(ValueError, match="ns_"):
        collection_name(bad)


def test_the_second_lock_stands_outside_the_callers_filter() -> None:
    inner = Some((Equals("namespace_id", "ns_other"), Equals("a", "b")))
    locked = within_namespace("ns_mine", inner)
    assert locked.filters == (Equals("namespace_id", "ns_mine"), inner)  # type: ignore[union-attr]


def test_points_carry_their_namespace() -> None:
    point = Point("id", np.zeros(1, np.float32), SparseVector((), ()), {"namespace_id": "ns_a"})
    check_points("ns_a", [point])
    with pytest.raises(ValueError, match="namespace_id"):
        check_points("ns_b", [point])


def test_fusion_adds_reciprocal_ranks() -> None:
    fused = fuse([hits("ab"), hits("bc")], [1.0, 1.0], limit=10, k=60)
    assert [hit.id for hit in fused] == ["b", "a", "c"]
    assert fused[0].score == pytest.approx(1 / 62 + 1 / 61)
    assert fused[0].payload == {"name": "b"}


def test_fusion_weighs_breaks_ties_by_id_and_stops_at_the_limit() -> None:
    assert [hit.id for hit in fuse([hits("b"), hits("a")], [1.0, 1.0], limit=2)] == ["a", "b"]
    assert [hit.id for hit in fuse([hits("ab"), hits("ba")], [1.0, 2.0], limit=1)] == ["b"]
    assert fuse([[], []], [1.0, 1.0], limit=5) == []


def test_words_of_one_stem_meet() -> None:
    document, query = document_vector("The keys are rotated, rotated!"), query_vector("rotating key")
    assert set(query.indices) == set(document.indices)
    assert set(query.values) == {1.0}
    assert document_vector("the of and") == SparseVector((), ())
