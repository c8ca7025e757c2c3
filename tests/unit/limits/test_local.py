"""The arithmetic of one process: never more than burst and rate, true waits, all or nothing, bounded memory."""

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from core.limits.decision import Ask, Decision, LeaseAsk
from core.limits.local import LocalRates
from core.limits.policy import Policy

POLICIES = st.builds(
    Policy,
    st.just("tested"),
    quota=st.integers(1, 1000),
    window_seconds=st.integers(1, 120),
    burst=st.integers(4, 50),
    cost=st.integers(1, 4),
)
FREELY = [Ask("freely", Policy("freely", 1_000, 1, 1_000))]
"""A rate that refuses nothing, for tests of leases."""
GAPS_US = st.lists(st.integers(0, 3_000_000), min_size=1, max_size=120)


@dataclass
class Clock:
    """Time that the test sets."""

    us: int = 1_000_000

    def __call__(self) -> int:
        return self.us * 1000


def local(clock: Clock, share: int = 1, max_keys: int = 100) -> LocalRates:
    return LocalRates(share, max_keys, clock)


def asked(rates: LocalRates, policy: Policy, key: str = "k") -> Decision:
    return rates.decide([Ask(key, policy)], None)


@given(POLICIES, GAPS_US)
def test_no_stretch_of_time_sees_more_than_burst_and_rate(policy: Policy, gaps: list[int]) -> None:
    clock = Clock()
    rates, admitted = local(clock), []
    for gap in gaps:
        clock.us += gap
        if asked(rates, policy).wait_us == 0:
            admitted.append(clock.us)
    for first, since in enumerate(admitted):
        for count, until in enumerate(admitted[first:], start=1):
            assert count * policy.cost <= policy.burst + (until - since) / policy.interval_us


@given(POLICIES, GAPS_US)
def test_a_wait_is_true_to_the_microsecond(policy: Policy, gaps: list[int]) -> None:
    clock = Clock()
    rates = local(clock)
    for gap in gaps:
        clock.us += gap % (policy.interval_us + 1)
        if wait := asked(rates, policy).wait_us:
            clock.us += wait - 1
            assert asked(rates, policy).wait_us == 1
            clock.us += 1
            assert asked(rates, policy).wait_us == 0


@given(POLICIES, GAPS_US)
def test_what_is_said_to_remain_can_be_had_and_no_more(policy: Policy, gaps: list[int]) -> None:
    clock = Clock()
    rates, one = local(clock), replace(policy, cost=1)
    for gap in gaps:
        clock.us += gap
        answer = asked(rates, policy)
    for left in reversed(range(answer.remaining)):
        got = asked(rates, one)
        assert (got.wait_us, got.remaining) == (0, left)
    refused = asked(rates, one)
    assert refused.wait_us > 0
    clock.us += refused.reset_us
    assert asked(rates, one).wait_us == 0


@given(POLICIES, POLICIES, GAPS_US)
def test_a_refusal_counts_for_no_policy(first: Policy, second: Policy, gaps: list[int]) -> None:
    clock = Clock()
    both, alone = local(clock), local(clock)
    for gap in gaps:
        clock.us += gap
        answer = both.decide([Ask("a", first), Ask("b", second)], None)
        if answer.wait_us == 0:
            assert asked(alone, first, "a").wait_us == asked(alone, second, "b").wait_us == 0
    a, b = asked(both, first, "a"), asked(both, second, "b")
    assert (a, b) == (asked(alone, first, "a"), asked(alone, second, "b"))


@given(POLICIES, st.integers(1, 4))
def test_the_processes_together_allow_no_more_than_the_plan(policy: Policy, processes: int) -> None:
    clock = Clock()
    fleet = [local(clock, share=processes) for _ in range(processes)]
    one = replace(policy, cost=1)
    admitted = sum(asked(rates, one).wait_us == 0 for rates in fleet for _ in range(policy.burst + 1))
    assert policy.burst - processes < admitted <= policy.burst
    clock.us += policy.interval_us * processes
    assert [asked(rates, one).wait_us for rates in fleet] == [0] * processes
    assert all(asked(rates, one).wait_us > 0 for rates in fleet)


def test_the_slowest_of_those_that_refuse_is_named() -> None:
    rates = local(Clock())
    asks = [Ask("quick", Policy("quick", 10, 1, 1)), Ask("slow", Policy("slow", 1, 60, 1))]
    assert rates.decide(asks, None).wait_us == 0
    assert rates.decide(asks, None) == Decision(binding=1, remaining=0, reset_us=60_000_000, wait_us=60_000_000)


def test_the_one_with_the_least_left_is_named_and_of_equals_the_slower_one() -> None:
    rates = local(Clock())
    wide, narrow = Ask("wide", Policy("wide", 60, 60, 9)), Ask("narrow", Policy("narrow", 60, 60, 5))
    slow = Ask("slow", Policy("slow", 30, 60, 5))
    assert rates.decide([wide, narrow, slow], None) == Decision(2, 4, 2_000_000, 0)
    assert rates.decide([wide, narrow], None).binding == 1


def test_the_rate_that_was_used_longest_ago_is_forgotten_first() -> None:
    rates, policy = local(Clock(), max_keys=2), Policy("tested", 1, 60, 1)
    for key in ("a", "b"):
        assert asked(rates, policy, key).wait_us == 0
    assert asked(rates, policy, "a").wait_us > 0
    assert asked(rates, policy, "c").wait_us == 0
    assert asked(rates, policy, "a").wait_us > 0
    assert asked(rates, policy, "b").wait_us == 0


def lease(name: str, cap: int, seconds: float = 60.0) -> LeaseAsk:
    return LeaseAsk("leases", name, Policy("cap", cap, 0, cap), seconds)


def test_a_cap_is_shared_by_the_processes_and_is_never_nothing() -> None:
    rates = local(Clock(), share=3)
    assert [rates.decide(FREELY, lease(str(number), 7)).wait_us > 0 for number in range(3)] == [False, False, True]
    rates = local(Clock(), share=3)
    assert [rates.decide(FREELY, lease(str(number), 1)).wait_us > 0 for number in range(2)] == [False, True]


def test_a_lease_ends_by_itself_and_says_when() -> None:
    clock = Clock()
    rates = local(clock)
    assert rates.decide(FREELY, lease("dead", 1, seconds=2)).wait_us == 0
    assert rates.decide(FREELY, lease("next", 1)).wait_us == 2_000_000
    clock.us += 2_000_000
    assert rates.decide(FREELY, lease("next", 1)).wait_us == 0


def test_a_holder_that_asks_again_keeps_its_one_place() -> None:
    rates = local(Clock())
    assert [rates.decide(FREELY, lease("same", 1)).wait_us for _ in range(2)] == [0, 0]
