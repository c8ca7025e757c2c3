"""A bounded memory forgets what was used longest ago, and nothing else."""

from core.recent import Recent


def test_what_was_used_longest_ago_is_forgotten() -> None:
    remembered = Recent[str, int](2)
    remembered.put("a", 1)
    remembered.put("b", 2)
    assert remembered.get("a", 0) == 1
    remembered.put("c", 3)
    assert [remembered.get(name, 0) for name in "abc"] == [1, 0, 3]


def test_it_never_grows_beyond_its_size() -> None:
    remembered = Recent[int, int](10)
    for number in range(1000):
        remembered.put(number, number)
    assert len(remembered) == 10


def test_whoever_asks_is_told_what_had_to_go_but_not_what_was_dropped() -> None:
    gone: list[str] = []
    remembered = Recent[int, str](1, gone.append)
    remembered.put(1, "one")
    remembered.put(1, "one again")
    remembered.put(2, "two")
    assert gone == ["one again"]
    assert remembered.drop(2) == "two"
    assert remembered.drop(2) is None
    assert gone == ["one again"]
