"""Keys of a stack are made once, only where the settings give none, and read as the settings read them."""

import stat

import pytest
from pydantic import SecretStr

from cli.stack.keys import own_keys
from cli.stack.layout import DataDirectory
from config.settings import Settings
from core.storage.keyring import Keyring

_ALL = {"KEYSTAGE_VAULT_KEYS", "KEYSTAGE_KEY_PEPPERS", "KEYSTAGE_AUDIT_KEYS", "KEYSTAGE_RAY_AUTH_TOKEN"}


def test_what_the_settings_leave_unset_is_made_and_kept(layout: DataDirectory) -> None:
    keys = own_keys(layout, Settings())
    assert set(keys) == _ALL
    assert len(set(keys.values())) == 4
    assert own_keys(layout, Settings()) == keys
    assert {stat.S_IMODE(file.stat().st_mode) for file in layout.keys.iterdir()} == {0o600}


def test_a_given_key_is_neither_replaced_nor_stored(layout: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_VAULT_KEYS", "k1:" + "A" * 43)
    assert set(own_keys(layout, Settings())) == _ALL - {"KEYSTAGE_VAULT_KEYS"}
    assert not (layout.keys / "keystage_vault_keys").exists()


def test_a_made_key_is_in_the_form_that_a_keyring_reads(layout: DataDirectory) -> None:
    keys = own_keys(layout, Settings())
    assert len(Keyring("test", [SecretStr(keys["KEYSTAGE_VAULT_KEYS"])]).newest.material) == 32


def test_the_key_files_are_secret_files_of_the_settings(layout: DataDirectory) -> None:
    keys = own_keys(layout, Settings())
    settings = Settings(_secrets_dir=layout.keys)
    assert [key.get_secret_value() for key in settings.key_peppers] == [keys["KEYSTAGE_KEY_PEPPERS"]]
    assert settings.ray_auth_token is not None
    assert settings.ray_auth_token.get_secret_value() == keys["KEYSTAGE_RAY_AUTH_TOKEN"]
