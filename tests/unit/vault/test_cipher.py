"""A sealed value opens for its own record and for no other."""

import base64
from dataclasses import replace

import orjson
import pytest
from cryptography.fernet import InvalidToken
from pydantic import SecretStr

from core.errors import IntegrityError
from core.storage.keyring import Keyring
from core.vault import cipher as cipher_module
from core.vault.cipher import Cipher, SealedValue, SecretRecord

RECORD = SecretRecord("int_a", "wh_1", "signing_secret")


def keyring(*numbers: int) -> Keyring:
    keys = [SecretStr(f"k{number}:{base64.urlsafe_b64encode(bytes([number]) * 32).decode()}") for number in numbers]
    return Keyring("KEYSTAGE_VAULT_KEYS", keys)


def test_a_value_opens_for_its_record_also_after_a_newer_key_came() -> None:
    sealed = Cipher(keyring(1)).seal(RECORD, "the value")
    assert "the value" not in sealed.token
    assert Cipher(keyring(2, 1)).open(RECORD, sealed) == "the value"


OTHERS = [
    replace(RECORD, internal_id="int_b"),
    replace(RECORD, record_id="wh_2"),
    replace(RECORD, name="other"),
    replace(RECORD, version=2),
    SecretRecord("int_aw", "h_1", "signing_secret"),  # the same letters, cut elsewhere
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_token_moved_to_another_record_is_refused(other: SecretRecord) -> None:
    cipher = Cipher(keyring(1))
    with pytest.raises(IntegrityError):
        cipher.open(other, cipher.seal(RECORD, "the value"))


@pytest.mark.parametrize("other", OTHERS)
def test_each_record_has_a_key_of_its_own(other: SecretRecord) -> None:
    (key,) = keyring(1)
    token = cipher_module._fernet(key, RECORD).encrypt(b"the value")
    with pytest.raises(InvalidToken):
        cipher_module._fernet(key, other).decrypt(token)


def test_an_envelope_that_names_another_record_is_refused_although_its_key_fits() -> None:
    # as a fault in the key derivation would let it happen
    (key,) = keyring(1)
    envelope = orjson.dumps({"for": replace(RECORD, record_id="wh_2").parts(), "value": "the value"})
    forged = SealedValue(key.key_id, cipher_module._fernet(key, RECORD).encrypt(envelope).decode())
    with pytest.raises(IntegrityError):
        Cipher(keyring(1)).open(RECORD, forged)


def test_a_value_whose_key_is_gone_is_refused() -> None:
    with pytest.raises(IntegrityError, match="not configured"):
        Cipher(keyring(2)).open(RECORD, Cipher(keyring(1)).seal(RECORD, "the value"))
