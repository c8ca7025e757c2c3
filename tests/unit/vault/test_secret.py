"""What a secret may be called, what its value may be, and who may use it."""

from datetime import UTC, datetime, timedelta

import pytest

from core.vault.secret import Secret, SecretLimits, host_problems, name_problems, value_problems

NOW = datetime(2026, 5, 20, tzinfo=UTC)


@pytest.mark.parametrize("name", ["a", "openai_api_key", "k2", "a" * 100])
def test_a_good_name(name: str) -> None:
    assert name_problems(name) == []


@pytest.mark.parametrize("name", ["", "A", "openai-key", "2k", "_k", "a" * 101, "schlüssel", "a b", "a\n", "a.b"])
def test_a_bad_name(name: str) -> None:
    assert [problem.location for problem in name_problems(name)] == [("secret_name",)]


def test_a_short_value_is_refused_with_the_reason_and_not_repeated() -> None:
    (problem,) = value_problems("1234567")
    assert "redacted" in problem.message
    assert "1234567" not in problem.message
    assert value_problems("12345678") == []


def test_a_value_has_at_most_64_kib_of_bytes() -> None:
    assert value_problems("x" * 65_536) == []
    assert [problem.kind for problem in value_problems("ü" * 32_769)] == ["secret_too_long"]
    assert [problem.kind for problem in value_problems("\ud800" * 8)] == ["secret_encoding"]


@pytest.mark.parametrize("host", ["api.openai.com", "*.example.com", "localhost", "10.0.0.1", "::1", "a_b.example.com"])
def test_a_good_host(host: str) -> None:
    assert host_problems([host]) == []


@pytest.mark.parametrize("host", ["https://x.com", "x.com/", "*", "*.", "x..com", "X.com", "x.com:443", "*x.com", ""])
def test_a_bad_host(host: str) -> None:
    assert [problem.location for problem in host_problems(["good.example.com", host])] == [("allowed_hosts", 1)]


def secret(**limits: object) -> Secret:
    return Secret("sec_1", "int_a", "k", 1, SecretLimits(**limits), None, NOW, NOW, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({}, None),
        ({"disabled": True}, "secret_disabled"),
        ({"expires_at": NOW}, "secret_expired"),
        ({"expires_at": NOW + timedelta(seconds=1)}, None),
        ({"allowed_namespaces": ("ns_b",)}, "secret_wrong_namespace"),
        ({"allowed_namespaces": ("ns_b", "ns_a")}, None),
    ],
)
def test_who_may_use_it_when(limits: dict[str, object], code: str | None) -> None:
    why = secret(**limits).unusable_in("ns_a", NOW)
    assert (why[0] if why else None) == code
