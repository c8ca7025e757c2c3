"""Policies as they follow from plan, key and route, and the plans themselves."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from config.plans import published_plans
from config.settings import Settings
from core.limits.decision import LeaseAsk
from core.limits.policy import Policy, RateClass
from core.limits.subject import Subject, concurrency_policy, key_policies, organization_policies, plan_of

PLANS = published_plans()
FREE = PLANS["free"]


def subject(plan: str = "free", per_minute: int | None = None, **overrides: int) -> Subject:
    return Subject("int_1", "key", plan, per_minute, {RateClass(name): value for name, value in overrides.items()})


def test_the_published_figures() -> None:
    figures = {
        name: (plan.requests_per_minute, plan.requests_per_second, plan.concurrent, plan.burst)
        for name, plan in PLANS.items()
    }
    assert figures["free"] == (60, 10, 5, 20)
    assert figures["pro"] == (600, 100, 50, 200)
    assert set(figures) == {"free", "pro", "team", "build", "scale", "enterprise"}
    assert min(PLANS["enterprise"].model_dump(include={*RateClass}).values()) >= 10_000


def test_a_free_key_has_its_minute_and_its_second() -> None:
    assert key_policies(FREE, subject()) == (Policy("key-minute", 60, 60, 20), Policy("key-second", 10, 1, 20))


@pytest.mark.parametrize(("given", "holds"), [(None, 60), (30, 30), (5, 5), (60_000, 60)])
def test_a_key_can_be_given_less_than_its_plan_and_not_more(given: int | None, holds: int) -> None:
    policy = key_policies(FREE, subject(per_minute=given))[0]
    assert (policy.quota, policy.burst) == (holds, min(20, holds))


def test_an_operators_figure_for_a_class_replaces_the_plans() -> None:
    search = organization_policies(FREE, subject(search=7), RateClass.SEARCH)[0]
    data = organization_policies(FREE, subject(search=7), RateClass.DATA)[0]
    assert search == Policy("organization-search", 7, 60, 7)
    assert data == Policy("organization-data", 120, 60, 20)


@pytest.mark.parametrize("rate_class", RateClass)
def test_no_organization_limit_takes_from_one_key_what_its_plan_gives(rate_class: RateClass) -> None:
    for plan in PLANS.values():
        per_minute, per_second = organization_policies(plan, subject(), rate_class)
        assert per_minute.quota >= plan.requests_per_minute
        assert per_second.quota >= plan.requests_per_second


def test_a_plan_may_limit_a_single_route() -> None:
    plan = FREE.model_copy(update={"routes": {"retrievers.execute": 10}})
    *_, own = organization_policies(plan, subject(), RateClass.SEARCH, "retrievers.execute")
    assert own == Policy("route-retrievers.execute", 10, 60, 10)
    assert len(organization_policies(plan, subject(), RateClass.SEARCH, "retrievers.get")) == 2


def test_a_plan_without_an_entry_is_enterprise() -> None:
    assert plan_of(PLANS, "bespoke") == PLANS["enterprise"]
    assert plan_of(PLANS, "free") == FREE


def test_the_cap_has_no_window() -> None:
    assert concurrency_policy(FREE) == Policy("organization-concurrency", 5, 0, 5)


@pytest.mark.parametrize(
    ("window_seconds", "shown"), [(0, "concurrent"), (1, "1s"), (60, "1m"), (90, "90s"), (7200, "2h"), (86_400, "1d")]
)
def test_a_window_as_people_write_it(window_seconds: int, shown: str) -> None:
    assert Policy("p", 1, window_seconds, 1).window == shown


def test_an_interval_is_rounded_so_that_nobody_gets_more() -> None:
    assert Policy("p", 7, 60, 1).interval_us == 8_571_429


@pytest.mark.parametrize(
    ("name", "quota", "window", "burst", "cost"),
    [
        ("p", 0, 1, 1, 1),
        ("p", 1, -1, 1, 1),
        ("p", 1, 1, 0, 0),
        ("p", 1, 1, 1, 2),
        ("p", 1, 1, 1, 0),
        ('"', 1, 1, 1, 1),
        ("a:b", 1, 1, 1, 1),
    ],
)
def test_a_policy_that_makes_no_sense_is_not_built(name: str, quota: int, window: int, burst: int, cost: int) -> None:
    with pytest.raises(ValueError, match=r"a policy's name|ever pass"):
        Policy(name, quota, window, burst, cost)


@pytest.mark.parametrize("seconds", [0, -1, 901])
def test_a_lease_has_an_end(seconds: float) -> None:
    with pytest.raises(ValueError, match="a lease lasts"):
        LeaseAsk("key", "id", Policy("p", 1, 0, 1), seconds)


def test_an_operators_figures_lie_over_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    new = PLANS["pro"].model_copy(update={"burst": 3}).model_dump_json()
    monkeypatch.setenv("KEYSTAGE_PLANS", f'{{"free": {{"burst": 40}}, "house": {new}}}')
    plans = Settings(_env_file=None).plans
    assert plans["free"] == FREE.model_copy(update={"burst": 40})
    assert (plans["pro"], plans["house"].burst) == (PLANS["pro"], 3)


@pytest.mark.parametrize(
    "given",
    ['{"free": {"burst": 0}}', '{"free": {"brust": 1}}', '{"new": {"burst": 1}}', '{"free": 7}', "[]"],
)
def test_figures_that_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("KEYSTAGE_PLANS", given)
    with pytest.raises(ValidationError):
        Settings(_env_file=None)


def test_the_page_about_limits_names_the_same_figures() -> None:
    rows = {}
    for line in (Path(__file__).parents[3] / "docs" / "limits.md").read_text().splitlines():
        names, *figures = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
        if len(figures) == 4 and figures[0].isdigit():
            rows.update({name: [int(figure) for figure in figures] for name in names.split(" and ")[0].split()})
    assert rows == {
        name: [plan.requests_per_minute, plan.requests_per_second, plan.burst, plan.concurrent]
        for name, plan in PLANS.items()
    }
