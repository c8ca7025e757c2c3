"""Endpoints take turns, each within its cap, and what was forgotten is admitted."""

from core.webhooks.lanes import DueDelivery, Lanes


def due(webhook_id: str, number: int) -> DueDelivery:
    return DueDelivery(f"dlv_{webhook_id}{number}", webhook_id)


def filled(lanes: Lanes, **counts: int) -> Lanes:
    for webhook_id, count in counts.items():
        for number in range(count):
            lanes.add(due(webhook_id, number))
    return lanes


def taken(lanes: Lanes) -> list[str]:
    ids = []
    while delivery := lanes.take():
        ids.append(delivery.delivery_id.removeprefix("dlv_"))
    return ids


def test_endpoints_take_turns_and_none_goes_over_its_cap() -> None:
    lanes = filled(Lanes(under_way_max=2, waiting_max=10), a=5, b=1)
    assert taken(lanes) == ["a0", "b0", "a1"]
    assert lanes.under_way == 3


def test_what_waits_and_what_is_under_way_counts_as_remembered() -> None:
    lanes = filled(Lanes(under_way_max=2, waiting_max=10), a=5, b=1)
    first = lanes.take()
    assert first is not None
    assert lanes.remembered == 6
    lanes.finished(first)
    assert lanes.remembered == 5


def test_an_ended_try_makes_room_in_its_own_lane() -> None:
    lanes = filled(Lanes(under_way_max=1, waiting_max=10), a=2, b=2)
    assert taken(lanes) == ["a0", "b0"]
    lanes.finished(due("b", 0))
    assert taken(lanes) == ["b1"]


def test_a_delivery_that_waits_or_is_under_way_is_not_added_twice() -> None:
    lanes = filled(Lanes(under_way_max=9, waiting_max=10), a=1)
    filled(lanes, a=1)
    assert taken(lanes) == ["a0"]
    filled(lanes, a=1)
    assert taken(lanes) == []
    lanes.finished(due("a", 0))
    filled(lanes, a=1)
    assert taken(lanes) == ["a0"]


def test_a_lane_that_was_too_full_says_so_once_it_is_empty() -> None:
    lanes = filled(Lanes(under_way_max=9, waiting_max=2), a=3, b=1)
    assert not lanes.forgot_any()
    assert taken(lanes) == ["a0", "b0", "a1"]
    assert lanes.forgot_any()
    assert not lanes.forgot_any()
