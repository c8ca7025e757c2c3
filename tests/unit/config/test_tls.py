"""Combinations of TLS settings that would be silently weaker than they look are refused, by the variable's name."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import Settings


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A file that is there."""
    path = tmp_path / "some.pem"
    path.write_text("-")
    return path


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["api_tls_cert_file"], "KEYSTAGE_API_TLS_KEY_FILE"),
        (["api_tls_key_file"], "KEYSTAGE_API_TLS_CERT_FILE"),
        (["api_tls_client_ca_file"], "KEYSTAGE_API_TLS_CERT_FILE"),
        (["mongo_tls_cert_key_file"], "KEYSTAGE_MONGO_TLS_CA_FILE"),
        (["redis_tls_cert_file"], "KEYSTAGE_REDIS_TLS_KEY_FILE"),
        (["redis_tls_cert_file", "redis_tls_key_file"], "KEYSTAGE_REDIS_TLS_CA_FILE"),
        (["ray_tls_ca_file"], "KEYSTAGE_RAY_TLS_CERT_FILE"),
        (["ray_tls_cert_file", "ray_tls_key_file"], "KEYSTAGE_RAY_TLS_CA_FILE"),
    ],
)
def test_half_of_a_pair_is_refused(pem: Path, given: list[str], named: str) -> None:
    half: dict[str, Any] = dict.fromkeys(given, pem)
    with pytest.raises(ValidationError, match=named):
        Settings(_env_file=None, **half)


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if "_tls_" in name])
def test_a_file_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    missing: dict[str, Any] = {name: tmp_path / "gone.pem"}
    with pytest.raises(ValidationError, match=f"KEYSTAGE_{name.upper()} names .*gone.pem"):
        Settings(_env_file=None, **missing)


@pytest.mark.parametrize(
    ("urls", "named"),
    [
        ({"redis_url": "redis://h:6379/0"}, "KEYSTAGE_REDIS_URL"),
        ({"redis_url": "rediss://h:6379/0", "broker_url": "redis://h:6379/1"}, "KEYSTAGE_BROKER_URL"),
    ],
)
def test_a_ca_for_a_redis_that_is_reached_in_the_open_is_refused(pem: Path, urls: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=f"{named} does not begin with rediss://"):
        Settings(_env_file=None, redis_tls_ca_file=pem, **urls)


def test_a_ca_for_a_qdrant_that_is_reached_in_the_open_is_refused(pem: Path) -> None:
    with pytest.raises(ValidationError, match="KEYSTAGE_QDRANT_URL does not begin with https://"):
        Settings(_env_file=None, qdrant_tls_ca_file=pem, qdrant_url="http://q:6333")


def test_a_refusal_shows_no_value_that_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEYSTAGE_VAULT_KEYS", "k1:the-secret-itself")
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", "mongodb://u:the-secret-itself@h/keystage")
    with pytest.raises(ValidationError) as caught:
        # an operator who mixed up two variables
        Settings(_env_file=None, api_port="the-secret-itself", api_tls_cert_file=tmp_path / "gone")
    assert "api_port" in str(caught.value)
    with pytest.raises(ValidationError) as whole:
        Settings(_env_file=None, webhook_retry_schedule="-1")
    assert "the-secret" not in str(caught.value) + str(whole.value)
