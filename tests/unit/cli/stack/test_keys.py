"""Keys of a stack are made once, only where the settings give none, and read as the settings read them."""

import stat

import pytest
from pydantic import SecretStr

from cli.stack.keys import own_keys, signing_keys
from cli.stack.layout import DataDirectory
from config.settings import Settings
from core.audit.checkpoint import Signer
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


def test_the_signing_key_goes_to_the_sweeper_and_its_public_key_to_everybody(layout: DataDirectory) -> None:
    keys = signing_keys(layout, Settings())
    private, public = keys.of_sweeper["KEYSTAGE_AUDIT_SIGNING_KEY"], keys.of_everybody["KEYSTAGE_AUDIT_VERIFY_KEYS"]
    assert Signer(SecretStr(private)).public_key == public
    assert keys.of_everybody["KEYSTAGE_AUDIT_SIGNING_KEY"] == ""
    assert signing_keys(layout, Settings()) == keys
    assert {stat.S_IMODE(file.stat().st_mode) for file in layout.signing_keys.iterdir()} == {0o600}
    # what the operator's commands read has the public one only
    settings = Settings(_secrets_dir=layout.keys)
    assert (settings.audit_signing_key, settings.audit_verify_keys) == (None, (public,))


def test_a_given_signing_key_is_not_stored_and_earlier_ones_still_verify(
    layout: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = signing_keys(layout, Settings()).of_everybody["KEYSTAGE_AUDIT_VERIFY_KEYS"]
    given = "s9:" + "A" * 43
    monkeypatch.setenv("KEYSTAGE_AUDIT_SIGNING_KEY", given)
    keys = signing_keys(layout, Settings())
    assert keys.of_sweeper == {"KEYSTAGE_AUDIT_SIGNING_KEY": given}
    assert keys.of_everybody["KEYSTAGE_AUDIT_VERIFY_KEYS"] == f"{Signer(SecretStr(given)).public_key},{first}"
    assert not any(given in file.read_text() for file in layout.root.rglob("*") if file.is_file())


def test_an_empty_signing_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_AUDIT_SIGNING_KEY", "")
    assert Settings().audit_signing_key is None


def test_a_made_key_is_in_the_form_that_a_keyring_reads(layout: DataDirectory) -> None:
    keys = own_keys(layout, Settings())
    assert len(Keyring("test", [SecretStr(keys["KEYSTAGE_VAULT_KEYS"])]).newest.material) == 32


def test_the_key_files_are_secret_files_of_the_settings(layout: DataDirectory) -> None:
    keys = own_keys(layout, Settings())
    settings = Settings(_secrets_dir=layout.keys)
    assert [key.get_secret_value() for key in settings.key_peppers] == [keys["KEYSTAGE_KEY_PEPPERS"]]
    assert settings.ray_auth_token is not None
    assert settings.ray_auth_token.get_secret_value() == keys["KEYSTAGE_RAY_AUTH_TOKEN"]
