"""A sealed value opens for its own record and for no other."""

from dataclasses import dataclass, replace

import orjson
import pytest
from cryptography.fernet import InvalidToken

from core.errors import IntegrityError
from core.vault import cipher as cipher_module
from core.vault.cipher import Cipher, DataKey, SealedValue, SecretRecord

RECORD = SecretRecord("int_a", "wh_1", "signing_secret")


@dataclass(frozen=True)
class Keys:
    """The same key material for every organization, as the worst case: only the derivation keeps records apart."""

    versions: tuple[int, ...] = (1,)

    def find(self, internal_id: str, version: int) -> DataKey | None:
        return DataKey(internal_id, version, bytes([version]) * 32) if version in self.versions else None

    def newest(self, internal_id: str = "int_a") -> DataKey:
        key = self.find(internal_id, self.versions[-1])
        assert key is not None
        return key


def test_a_value_opens_for_its_record_also_after_a_newer_key_came() -> None:
    sealed = Cipher(Keys()).seal(Keys().newest(), RECORD, "the value")
    assert "the value" not in sealed.token
    assert Cipher(Keys((1, 2))).open(RECORD, sealed) == "the value"


OTHERS = [
    replace(RECORD, internal_id="int_b"),
    replace(RECORD, record_id="wh_2"),
    replace(RECORD, name="other"),
    replace(RECORD, version=2),
    SecretRecord("int_aw", "h_1", "signing_secret"),  # the same letters, cut elsewhere
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_token_moved_to_another_record_is_refused(other: SecretRecord) -> None:
    cipher = Cipher(Keys())
    with pytest.raises(IntegrityError):
        cipher.open(other, cipher.seal(Keys().newest(), RECORD, "the value"))


@pytest.mark.parametrize("other", OTHERS)
def test_each_record_has_a_key_of_its_own(other: SecretRecord) -> None:
    key = Keys().newest()
    token = cipher_module._fernet(key, RECORD).encrypt(b"the value")
    with pytest.raises(InvalidToken):
        cipher_module._fernet(key, other).decrypt(token)


def test_an_envelope_that_names_another_record_is_refused_although_its_key_fits() -> None:
    # as a fault in the key derivation would let it happen
    key = Keys().newest()
    envelope = orjson.dumps({"for": replace(RECORD, record_id="wh_2").parts(), "value": "the value"})
    forged = SealedValue(cipher_module._fernet(key, RECORD).encrypt(envelope).decode(), key.version)
    with pytest.raises(IntegrityError):
        Cipher(Keys()).open(RECORD, forged)


def test_a_value_whose_key_is_gone_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no data key 1"):
        Cipher(Keys((2,))).open(RECORD, Cipher(Keys()).seal(Keys().newest(), RECORD, "the value"))


def test_a_value_in_a_form_that_is_not_known_is_refused() -> None:
    sealed = replace(Cipher(Keys()).seal(Keys().newest(), RECORD, "the value"), enc="aesgcm-v9")
    with pytest.raises(IntegrityError, match="aesgcm-v9"):
        Cipher(Keys()).open(RECORD, sealed)


def test_a_value_is_not_sealed_under_the_key_of_another_organization() -> None:
    with pytest.raises(ValueError, match="its own organization"):
        Cipher(Keys()).seal(Keys().newest("int_b"), RECORD, "the value")


def test_a_key_does_not_show_its_material() -> None:
    assert "\\x01" not in repr(Keys().newest())
