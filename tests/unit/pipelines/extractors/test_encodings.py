"""Encodings under names that only browsers know, files that are cut off, and UTF-16 that says nothing of itself."""

import pytest

from core.files.charsets import codec_of
from core.files.decoding import decode

_JAPANESE = "吾輩は猫である。名前はまだ無い。"


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("koi8-u", "koi8-u"),
        ("x-cp1251", "cp1251"),
        ("x-mac-cyrillic", "mac-cyrillic"),
        ("ISO-8859-8-I", "iso8859-8"),
        ("windows-949", "cp949"),
        ("ks_c_5601-1989", "cp949"),
        ("x-gbk", "gb18030"),
        ("x-x-big5", "big5hkscs"),
        ("iso-8859-11", "cp874"),
        ("x-sjis", "cp932"),
        ("windows-31j", "cp932"),
        ("utf-7", None),
        ("windows-", None),
        ("x-nobody", None),
    ],
)
def test_a_label_that_browsers_know_is_an_encoding(label: str, codec: str | None) -> None:
    assert codec_of(label) == codec


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (_JAPANESE * 5, "shift_jis"),
        ("我们的技术" * 10, "gb2312"),
        ("안녕하세요" * 10, "euc-kr"),
        (_JAPANESE * 5, "euc-jp"),
    ],
)
def test_a_text_that_is_cut_off_within_a_character_stays_readable(text: str, encoding: str) -> None:
    found = decode(text.encode(encoding)[:-1], [encoding])
    assert found.text.startswith(text[:-1])
    assert found.is_damaged
    assert not found.is_guess


def test_one_byte_that_an_encoding_leaves_undefined_spoils_no_text() -> None:
    found = decode("Привет, мир".encode("cp1251") + b"\x98", ["windows-1251"])
    assert found.text == "Привет, мир\u02dc"
    assert found.is_damaged


def test_a_declaration_that_fits_little_is_passed_over() -> None:
    found = decode(b"caf\xe9 \xff\xff\xff na\xefve", ["euc-jp"])
    assert found.text == "café ÿÿÿ naïve"
    assert found.is_guess


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        (b"\xad\xa1\xbe\xcf", "euc-jp", "①章"),
        (b"\x1b$B-!\x1b(B 1", "iso-2022-jp", "① 1"),
        (b"\x1b(I@1\n2\x1b(B a", "iso-2022-jp", "\uff80\uff71\n\uff72 a"),
        (b"\xa3\xe1 5", "big5", "€ 5"),
    ],
)
def test_characters_of_the_larger_form_on_the_web_are_read(content: bytes, encoding: str, text: str) -> None:
    found = decode(content, [encoding])
    assert found.text == text
    assert not found.is_damaged


@pytest.mark.parametrize("text", ["Привет мир,\nкак дела", "Καλημέρα κόσμε", "שלום עולם 1", "مرحبا بالعالم"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_known_in_other_alphabets_too(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


def test_one_word_in_utf_16_that_is_declared_is_that_word() -> None:
    assert decode("Привет".encode("utf-16-le"), ["utf-16"]).text == "Привет"


def test_bytes_that_are_small_numbers_are_no_utf_16() -> None:
    numbers = b"".join((number * 37 % 4096).to_bytes(2, "little") for number in range(2000))
    assert decode(numbers).encoding == "windows-1252"
