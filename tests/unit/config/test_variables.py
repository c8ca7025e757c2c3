"""A variable that nobody reads is named with what was probably meant, wherever it is set; others are left alone."""

from pathlib import Path

import pytest

from config.settings import Settings
from config.variables import places, unread_variables


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without a .env."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("KEYSTAGE_MONGO_ULR", "KEYSTAGE_MONGO_ULR (environment) is no setting: did you mean KEYSTAGE_MONGO_URL?"),
        ("KEYSTAGE_EGRESS_ALOW_CIDR", "did you mean KEYSTAGE_EGRESS_ALLOW_CIDRS?"),
        ("KEYSTAGE_SECRET_DIR", "did you mean KEYSTAGE_SECRETS_DIR?"),
        ("KEYSTAGE_SECRETS_ADRESS", "did you mean KEYSTAGE_SECRETS_ADDRESS?"),
        ("keystage_log_levl", "keystage_log_levl (environment) is no setting: did you mean KEYSTAGE_LOG_LEVEL?"),
        ("KEYSTGE_MONGO_URL", "KEYSTGE_MONGO_URL (environment) is no setting: did you mean KEYSTAGE_MONGO_URL?"),
        # of an earlier release
        ("KEYSTAGE_WORKER_SLOTS", "any more: did you mean KEYSTAGE_INTERACTIVE_SLOTS and KEYSTAGE_BATCH_SLOTS?"),
        ("KEYSTAGE_QQQ", "KEYSTAGE_QQQ (environment) is no setting"),
    ],
)
def test_a_misspelt_variable_is_named_with_its_nearest(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    monkeypatch.setenv(name, "the-value")
    (found,) = [str(each) for each in unread_variables() if each.name == name]
    assert found.endswith(said)
    assert "the-value" not in found


@pytest.mark.parametrize(
    "name",
    [
        "KEYSTAGE_MONGO_URL", "keystage_mongo_url", "KEYSTAGE_SECRETS_FROM", "KEYSTAGE_SECRETS_DIR",
        "KEYSTAGE_SECRETS_ROLE_ID", "KEYSTAGE_STACK", "MONGO_URL", "KEYRING_BACKEND",
    ],
)  # fmt: skip
def test_what_is_read_or_another_programs_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert name not in [each.name for each in unread_variables()]


def test_the_env_file_and_secret_files_are_looked_at_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEYSTAGE_LOG_LEVLE=DEBUG\nKEYSTAGE_SECRETS_FROM=vault\nDJANGO_KEY=1\n")
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "keystage_vault_key").write_text("k")
    (directory / "redis_users.acl").write_text("user")
    monkeypatch.setitem(Settings.model_config, "secrets_dir", str(directory))
    assert [str(each) for each in unread_variables() if each.place != "environment"] == [
        "KEYSTAGE_LOG_LEVLE (.env) is no setting: did you mean KEYSTAGE_LOG_LEVEL?",
        "KEYSTAGE_SECRETS_FROM (.env) is read from the environment only",
        "keystage_vault_key (secret file) is no setting: did you mean KEYSTAGE_VAULT_KEYS?",
    ]


def test_the_first_place_that_sets_a_variable_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEYSTAGE_LOG_LEVEL=DEBUG\nKEYSTAGE_API_PORT=1\n")
    monkeypatch.setenv("KEYSTAGE_LOG_LEVEL", "ERROR")
    assert places(["log_level", "api_port", "mongo_url"]) == {"log_level": "environment", "api_port": ".env"}
