"""The API key's shape, checksum and verifier."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from core.storage.keyring import Keyring
from core.tenancy.keys import KeyVerifier, mint_key, parse_key


def pepper(name: str, byte: int) -> SecretStr:
    return SecretStr(f"{name}:{base64.urlsafe_b64encode(bytes([byte]) * 32).decode()}")


def test_a_minted_key_parses_to_itself() -> None:
    key = mint_key()
    assert parse_key(key.text) == key
    assert len(key.text) == len("ks_live_") + 12 + 1 + 43 + 6


@given(position=st.integers(8, 60), letter=st.sampled_from("0aZ"))
def test_one_changed_character_is_noticed_without_a_store(position: int, letter: str) -> None:
    text = mint_key().text
    changed = text[:position] + letter + text[position + 1 :]
    assert parse_key(changed) is None or changed == text


def test_the_repr_of_a_key_hides_its_text() -> None:
    key = mint_key()
    assert key.text not in repr(key)


def test_a_key_sealed_under_an_older_pepper_still_verifies() -> None:
    key = mint_key()
    pepper_id, verifier = KeyVerifier(Keyring("P", [pepper("old", 1)])).seal(key)
    both = KeyVerifier(Keyring("P", [pepper("new", 2), pepper("old", 1)]))
    assert both.matches(key, pepper_id, verifier)


def test_a_key_whose_pepper_is_gone_does_not_verify() -> None:
    key = mint_key()
    pepper_id, verifier = KeyVerifier(Keyring("P", [pepper("old", 1)])).seal(key)
    assert not KeyVerifier(Keyring("P", [pepper("new", 2)])).matches(key, pepper_id, verifier)


def test_another_key_does_not_verify() -> None:
    verifier = KeyVerifier(Keyring("P", [pepper("a", 1)]))
    assert not verifier.matches(mint_key(), *verifier.seal(mint_key()))


@pytest.mark.parametrize("text", ["no-colon", "id:", "id:c2hvcnQ=", ":" + "A" * 43])
def test_a_malformed_root_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="KEYSTAGE_X: each key must read") as error:
        Keyring("KEYSTAGE_X", [SecretStr(text)])
    assert text not in str(error.value)
