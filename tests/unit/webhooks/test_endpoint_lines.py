"""Endpoints take turns, each within its cap, and what was forgotten is admitted."""

from core.webhooks.endpoint_lines import DueDelivery, EndpointLines


def due(webhook_id: str, number: int) -> DueDelivery:
    return DueDelivery(f"dlv_{webhook_id}{number}", webhook_id)


def filled(lines: EndpointLines, **counts: int) -> EndpointLines:
    for webhook_id, count in counts.items():
        for number in range(count):
            lines.add(due(webhook_id, number))
    return lines


def taken(lines: EndpointLines) -> list[str]:
    ids = []
    while delivery := lines.take():
        ids.append(delivery.delivery_id.removeprefix("dlv_"))
    return ids


def test_endpoints_take_turns_and_none_goes_over_its_cap() -> None:
    lines = filled(EndpointLines(under_way_max=2, waiting_max=10), a=5, b=1)
    assert taken(lines) == ["a0", "b0", "a1"]
    assert lines.under_way == 3


def test_what_waits_and_what_is_under_way_counts_as_remembered() -> None:
    lines = filled(EndpointLines(under_way_max=2, waiting_max=10), a=5, b=1)
    first = lines.take()
    assert first is not None
    assert lines.remembered == 6
    lines.finished(first)
    assert lines.remembered == 5


def test_an_ended_try_makes_room_in_its_own_line() -> None:
    lines = filled(EndpointLines(under_way_max=1, waiting_max=10), a=2, b=2)
    assert taken(lines) == ["a0", "b0"]
    lines.finished(due("b", 0))
    assert taken(lines) == ["b1"]


def test_a_delivery_that_waits_or_is_under_way_is_not_added_twice() -> None:
    lines = filled(EndpointLines(under_way_max=9, waiting_max=10), a=1)
    filled(lines, a=1)
    assert taken(lines) == ["a0"]
    filled(lines, a=1)
    assert taken(lines) == []
    lines.finished(due("a", 0))
    filled(lines, a=1)
    assert taken(lines) == ["a0"]


def test_a_line_that_was_too_full_says_so_once_it_is_empty() -> None:
    lines = filled(EndpointLines(under_way_max=9, waiting_max=2), a=3, b=1)
    assert not lines.forgot_any()
    assert taken(lines) == ["a0", "b0", "a1"]
    assert lines.forgot_any()
    assert not lines.forgot_any()
