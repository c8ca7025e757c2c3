"""One spelling, and words, of texts in every script."""

from unicodedata import normalize

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.words import document_words, folded, query_words

TEXTS = st.text(max_size=60) | st.text(
    "aİıIßẞﬁé\u0301\u0307天ｶﾞ ー학ก\u0e49👍🏽🇩\u200d\u200b\ufe0f\u0640\ufe77ب™№\u02bc\n", max_size=30
)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Cafe\u0301", "CAFÉ"),
        ("Straße", "STRASSE"),
        ("ﬁle", "FILE"),
        ("İıIi", "iiii"),
        ("i\u0307\u0301", "í"),
        ("ｶﾞ", "ガ"),
        ("①", "1"),
        # capitals that only NFKC brings out
        ("℡", "TEL"),
        ("co\u00adop", "coop"),
        ("ᾳ", "ΑΙ"),
        ("كـــتاب", "كتاب"),
        ("\ufe77ب", "\u064eب"),
        ("ﷺ", "صلى الله عليه وسلم"),
    ],
)
def test_what_reads_alike_is_spelled_alike(text: str, same: str) -> None:
    assert folded(text) == folded(same)


@settings(deadline=None)
@given(TEXTS)
def test_folding_is_done_once_and_knows_no_form(text: str) -> None:
    # the iota below, between other marks, stands elsewhere in each form; no text has it there
    assume("\u0345" not in normalize("NFD", text))
    once = folded(text)
    assert folded(once) == once
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(normalize(form, text)) == once


@settings(deadline=None)
@given(TEXTS)
def test_every_text_is_found_by_itself(text: str) -> None:
    assert set(query_words(text)) <= set(document_words(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop_it, 2026-03-01!", ["don", "t", "stop", "it", "2026", "03", "01"]),
        ("東京都", ["東", "京", "都", "東京", "京都"]),
        ("Python入門 第2回", ["python", "入", "門", "入門", "第", "2", "回"]),
        ("漢字とカナー", ["漢", "字", "と", "カ", "ナ", "ー", "漢字", "字と", "とカ", "カナ", "ナー"]),
        ("학교에 물", ["학", "교", "에", "학교", "교에", "물"]),
        ("น้ำ", ["น้ํ", "า", "น้ํา"]),
        ("हिन्दी", ["हिन्दी"]),
        ("👨‍👩‍👧🇩🇪!", ["👨", "👩", "👧", "🇩🇪"]),
        ("word\u200bword", ["word", "word"]),
        ("Acme™ №5, 100㎡ ℠x", ["acme", "tm", "no", "5", "100", "m2", "sm", "x"]),
        ("\x1b[32mINFO\x1b[0m ok\x1b[1;31;40mERR", ["info", "okerr"]),
        ("\x1b]8;;http://e.com\x07link\x1b]8;;\x1b\\ed", ["linked"]),
        ("N\x08NA\x08AM\x08ME\x08E _\x08l_\x08s", ["name", "ls"]),
        ("1️⃣ first", ["1", "first"]),
        ("м'ята м’ята мʼята", ["м", "ята"] * 3),
        ("Oʻzbek Qurʾan", ["o", "zbek", "qur", "an"]),
        ("東\n 京都\r\n、\n\n猫", ["東", "京", "都", "東京", "京都", "猫"]),
        ("물\n학교", ["물", "학", "교", "학교"]),
        ("ก\nข", ["ก", "ข", "กข"]),
        ("\u0301 … ?! \ud800", []),
    ],
)
def test_a_text_has_these_words(text: str, words: list[str]) -> None:
    assert document_words(text) == words


def test_a_query_asks_for_pairs_and_for_a_character_that_stands_alone() -> None:
    assert query_words("東京都 猫 cat") == ["東京", "京都", "猫", "cat"]
