"""What is unusual for a secret: against its own history, and nothing against nothing."""

from datetime import UTC, datetime, timedelta

from core.vault.access import USED, AccessDay, Finding, Unusual, unusual

NOW = datetime(2026, 5, 20, 12, 30, tzinfo=UTC)


def day(
    ago: int,
    *,
    callers: tuple[str, ...] = ("key_a",),
    hosts: tuple[str, ...] = ("openai",),
    hourly: int = 5,
    denied: str | None = None,
) -> AccessDay:
    outcomes = {USED: hourly} | ({denied: 1} if denied else {})
    moment = (NOW - timedelta(days=ago)).replace(hour=0, minute=0)
    return AccessDay(moment, dict.fromkeys(callers, 1), dict.fromkeys(hosts, 1), outcomes, {9: hourly})


def test_use_as_before_is_not_unusual() -> None:
    assert unusual([day(0), day(3), day(9)], NOW) == []


def test_a_new_caller_and_a_new_host_are_found() -> None:
    days = [day(0, callers=("key_a", "key_b"), hosts=("openai", "evil.example.com")), day(3)]
    assert unusual(days, NOW) == [
        Finding(Unusual.NEW_CALLER, "key_b", 1),
        Finding(Unusual.NEW_HOST, "evil.example.com", 1),
    ]


def test_a_burst_is_measured_by_the_secrets_own_busiest_hour() -> None:
    assert unusual([day(0, hourly=300), day(3, hourly=100)], NOW) == [Finding(Unusual.BURST, "2026-05-20T09", 300)]
    assert unusual([day(0, hourly=299), day(3, hourly=100)], NOW) == []
    # three times of nearly nothing is nothing
    assert unusual([day(0, hourly=19), day(3, hourly=1)], NOW) == []


def test_a_denial_is_found_even_without_a_history() -> None:
    assert unusual([day(0, denied="secret_expired")], NOW) == [Finding(Unusual.DENIED, "secret_expired", 1)]


def test_a_secret_without_a_history_has_no_new_callers_and_no_bursts() -> None:
    assert unusual([day(0, callers=("key_a", "key_b"), hourly=5000)], NOW) == []


def test_yesterday_is_recent_from_its_first_hour_and_the_day_before_is_history() -> None:
    new = [Finding(Unusual.NEW_CALLER, "key_b", 1)]
    assert unusual([day(1, callers=("key_b",)), day(3)], NOW) == new
    assert unusual([day(0, callers=("key_b",)), day(2, callers=("key_b",))], NOW) == []


def test_what_was_new_last_week_is_history_now() -> None:
    assert unusual([day(0, callers=("key_b",)), day(7, callers=("key_a", "key_b"))], NOW) == []
