"""A setting of the wrong form is refused when settings are read, by its variable's name, and its value is not shown."""

from pathlib import Path

import pytest

from config.refusals import UnusableSettingsError
from config.settings import load_settings

_KEY = "k1:" + "A" * 43


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without a .env."""
    monkeypatch.chdir(tmp_path)


REFUSED = [
    (
        "EGRESS_ALLOW_CIDRS",
        "10.0.0.0/8,the-secret",
        "KEYSTAGE_EGRESS_ALLOW_CIDRS: part 2 of 2 must be an address range",
    ),
    ("EGRESS_ALLOW_CIDRS", "10.0.0.0/99", "KEYSTAGE_EGRESS_ALLOW_CIDRS: must be an address range"),
    ("METRICS_ALLOW_CIDRS", "10.1.2.3/8", "KEYSTAGE_METRICS_ALLOW_CIDRS: 10.1.2.3/8 is one .* the range is 10.0.0.0/8"),
    ("TRUSTED_PROXIES", "localhost", "KEYSTAGE_TRUSTED_PROXIES: must be an address range"),
    ("CORS_ALLOWED_ORIGINS", "https://a.example.com/", "KEYSTAGE_CORS_ALLOWED_ORIGINS: must be scheme and host alone"),
    ("CORS_ALLOWED_ORIGINS", "a.example.com", "KEYSTAGE_CORS_ALLOWED_ORIGINS: must be scheme and host alone"),
    ("VAULT_KEYS", "the-secret", "KEYSTAGE_VAULT_KEYS: must read <id>:<32 bytes as urlsafe base64>"),
    ("VAULT_KEYS", f"{_KEY},k2:the-secret", "KEYSTAGE_VAULT_KEYS: part 2 of 2 must read"),
    ("KEY_PEPPERS", f"{_KEY},{_KEY}", "KEYSTAGE_KEY_PEPPERS: two keys have the same id"),
    ("AUDIT_KEYS", "k1:" + "A" * 42, "KEYSTAGE_AUDIT_KEYS: must read"),
    ("AUDIT_SIGNING_KEY", "the-secret", "KEYSTAGE_AUDIT_SIGNING_KEY: must read"),
    ("AUDIT_VERIFY_KEYS", ":" + "A" * 43, "KEYSTAGE_AUDIT_VERIFY_KEYS: must read"),
    ("MONGO_URL", "http://u:the-secret@h/keystage", "KEYSTAGE_MONGO_URL: must begin with mongodb://"),
    ("MONGO_URL", "mongodb://u:the-secret@h:99999/keystage", "KEYSTAGE_MONGO_URL: must read mongodb://host:port/"),
    ("MONGO_URL", "mongodb:///keystage", "KEYSTAGE_MONGO_URL: must read mongodb://host:port/"),
    ("REDIS_URL", "localhost:6379", "KEYSTAGE_REDIS_URL: must begin with redis:// or rediss://"),
    ("REDIS_URL", "redis://:the-secret@:6379/0", "KEYSTAGE_REDIS_URL: must read redis://host:port/"),
    ("BROKER_URL", "kafka://h", "KEYSTAGE_BROKER_URL: must begin with redis:// or rediss:// or amqp:// or amqps://"),
    ("QDRANT_URL", "h:6333", "KEYSTAGE_QDRANT_URL: must begin with http:// or https://"),
    ("BLOB_URL", "/srv/blobs", "KEYSTAGE_BLOB_URL: must begin with file:// or s3:// or gs://"),
    (
        "OPENAI_BASE_URL",
        "https://llm.example.com/v1/chat/completions",
        "KEYSTAGE_OPENAI_BASE_URL: must end before /chat/completions, which is put behind it",
    ),
    (
        "OPENAI_BASE_URL",
        "https://x.example.com/d?api-version=1",
        "KEYSTAGE_OPENAI_BASE_URL: is what paths are put behind: it has no query",
    ),
    ("ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1/", "KEYSTAGE_ANTHROPIC_BASE_URL: must end before /v1,"),
    ("GOOGLE_BASE_URL", "https://g.example.com/v1beta", "KEYSTAGE_GOOGLE_BASE_URL: must end before /v1beta,"),
    ("OPENAI_BASE_URL", "api.openai.com", "KEYSTAGE_OPENAI_BASE_URL: must begin with http:// or https://"),
    ("KEK_TRANSIT_URL", "vault:8200", "KEYSTAGE_KEK_TRANSIT_URL: must begin with http:// or https://"),
    ("RAY_ADDRESS", "auto", "KEYSTAGE_RAY_ADDRESS: must read host:port"),
    ("RAY_ADDRESS", "ray://h:6380", "KEYSTAGE_RAY_ADDRESS: must read host:port"),
    ("WEBHOOK_RETRY_SCHEDULE", "5,soon", "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE: must be seconds, separated by commas"),
    ("WEBHOOK_RETRY_SCHEDULE", "5,-1", "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE: part 2 of 2 must be above 0"),
    ("WEBHOOK_RETRY_SCHEDULE", "inf", "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE: must be above 0 and at most"),
    ("WEBHOOK_RETRY_SCHEDULE", "5,1e300", "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE: part 2 of 2 must be .* at most"),
    ("WEBHOOK_RETRY_SCHEDULE", "", "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE: must name at least one delay"),
    ("EMBEDDER", "minilm", "KEYSTAGE_EMBEDDER: "),
    ("API_PORT", "99999", "KEYSTAGE_API_PORT: input should be less than or equal to 65535"),
    ("API_PORT", "the-secret", "KEYSTAGE_API_PORT: input should be a valid integer"),
    ("LOG_FORMAT", "the-secret", "KEYSTAGE_LOG_FORMAT: input should be 'auto', 'json' or 'console'"),
    ("PLANS", "{the-secret", "KEYSTAGE_PLANS: the environment does not hold JSON"),
    ("PLANS", '{"free": {"burst": "the-secret"}}', "KEYSTAGE_PLANS free.burst: input should be a valid integer"),
]


@pytest.mark.parametrize(("name", "value", "said"), REFUSED)
def test_a_value_of_the_wrong_form_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"KEYSTAGE_{name}", value)
    with pytest.raises(UnusableSettingsError, match=f"^{said}") as caught:
        load_settings()
    assert "the-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EGRESS_ALLOW_CIDRS", "10.0.0.0/8, 192.0.2.7,fd00::/8,::1/128"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com,https://*.example.com,http://localhost:3000,*,null"),
        ("MONGO_URL", "mongodb://u:p%40w@a:27017,b:27018/keystage?replicaSet=keystage"),
        ("MONGO_URL", "mongodb+srv://u:p@cluster.example.com/keystage"),
        ("MONGO_URL", "mongodb://[::1]:27017/keystage"),
        ("REDIS_URL", "rediss://limits:p@redis:6379/0"),
        ("BROKER_URL", "amqp://u:p@rabbit//"),
        ("BLOB_URL", "file:///srv/blobs"),
        ("BLOB_URL", "s3://bucket/prefix"),
        ("RAY_ADDRESS", "ray-head:6380"),
        ("WEBHOOK_RETRY_SCHEDULE", "5, 60,0.5"),
        ("EMBEDDER", "hub:/srv/model"),
        ("AUDIT_SIGNING_KEY", ""),
        ("API_PORT", "0"),
    ],
)
def test_a_value_of_the_right_form_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"KEYSTAGE_{name}", value)
    assert load_settings()


def test_every_fault_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MONGO_URL", "h")
    monkeypatch.setenv("KEYSTAGE_AUDIT_KEYS", "k")
    with pytest.raises(UnusableSettingsError, match=r"KEYSTAGE_MONGO_URL: .*; KEYSTAGE_AUDIT_KEYS: "):
        load_settings()


@pytest.mark.parametrize(
    "content", [b"# f\xfcr uns\nKEYSTAGE_LOG_LEVEL=DEBUG\n", "KEYSTAGE_LOG_LEVEL=DEBUG".encode("utf-16")]
)
def test_a_file_that_is_no_utf8_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(UnusableSettingsError, match=r"^the \.env file is no text in UTF-8"):
        load_settings()


@pytest.mark.parametrize("provider", ["OPENAI", "ANTHROPIC", "GOOGLE"])
def test_an_empty_key_of_the_platforms_is_none(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    monkeypatch.setenv(f"KEYSTAGE_{provider}_API_KEY", "")
    assert getattr(load_settings(), f"{provider.lower()}_api_key") is None
