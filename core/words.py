"""Texts as searches and filters compare them: one spelling for what reads alike, cut into words. Pure.

It changes nothing that is shown: a document keeps what its author wrote. `docs/search.md` tells customers the rule.
"""

from itertools import pairwise
from typing import Final
from unicodedata import normalize

import regex

INDEX_FORM: Final = 2
"""Grows whenever the words of a document change: an index that was written in an older form has to be rebuilt."""
FIRST_FORM: Final = 1
"""The form of indexes that say none: Qdrant's own words of the text as it was written."""

_UNSEEN = regex.compile(r"[\p{Default_Ignorable_Code_Point}--\u200b]", regex.V1)
"""Soft hyphens, joiners, variation selectors. A zero-width space stays: it parts words."""
_TATWEEL = "\u0640"
"""Stretches an Arabic word, and says nothing."""
_TURKISH_I = regex.compile("[iı]\u0307*")
_APOSTROPHES = "\u02b9-\u02bf"
"""Letters to Unicode, and the apostrophe to who writes Ukrainian, Uzbek or Hawaiian: `'` and `’` part words too."""
_WORD = regex.compile(
    rf"[\p{{L}}\p{{N}}--[{_APOSTROPHES}]][\p{{L}}\p{{N}}\p{{M}}--[{_APOSTROPHES}\p{{Me}}]]*"
    r"|\p{Regional_Indicator}{2}|\p{Extended_Pictographic}",
    regex.V1,
)
_TERMINAL = regex.compile(r"\x1b\[[0-?]*+[ -/]*+[@-~]|\x1b\][^\x07\x1b]*+(?:\x07|\x1b\\)|[^\n\x08]\x08")
"""What a terminal does not show: colours, links, and the letters that another one is written upon."""
_SYMBOL = regex.compile(r"[\p{So}--\p{Regional_Indicator}]", regex.V1)
"""`™`, `№`, `㎡`: their letters are no part of the word beside them."""
_NO_BLANKS = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{scx=Yi}\p{Line_Break=SA}"
_WITHOUT_BLANKS = rf"{_NO_BLANKS}\p{{scx=Hangul}}"
"""Characters of scripts that put no blanks between words, of Hangul, which joins particles to them, and of Thai and its
kin, which Unicode tells by how their lines break."""
_RUN = regex.compile(rf"(?P<dense>[{_WITHOUT_BLANKS}][{_WITHOUT_BLANKS}\p{{M}}]*)|[^{_WITHOUT_BLANKS}]+")
_BROKEN_LINE = regex.compile(rf"(?<=[{_NO_BLANKS}]\p{{M}}*)[ \t\u3000]*(?:\r\n?|\n)[ \t\u3000]*(?=[{_NO_BLANKS}])")
_LETTER = regex.compile(r"\P{M}\p{M}*")


def folded(text: str) -> str:
    """One spelling for all that reads alike: Unicode's NFKC and full case folding, and one letter for Turkish's i's."""
    if text.isascii():
        return text.lower()
    seen = _UNSEEN.sub("", normalize("NFD", text))
    # twice, because what a compatibility character stands for may have capitals
    plain = normalize("NFKC", normalize("NFKC", seen.casefold()).casefold())
    return normalize("NFKC", _TURKISH_I.sub("i", normalize("NFD", plain.replace(_TATWEEL, ""))))


def document_words(text: str) -> list[str]:
    """The words by which a text is found. Of a script without blanks: each character, and each two in a row."""
    return [word for run in _runs(text) for word in (run if len(run) == 1 else [*run, *_pairs(run)])]


def query_words(text: str) -> list[str]:
    """The words to look for. Of a script without blanks: each two characters in a row, or the only one."""
    return [word for run in _runs(text) for word in (run if len(run) == 1 else _pairs(run))]


def _runs(text: str) -> list[list[str]]:
    """Each word as a list of itself; of a script without blanks, the characters that stand together."""
    runs: list[list[str]] = []
    for word in _WORD.findall(folded(_parted(text))):
        if word.isascii():
            runs.append([word])
        else:
            runs += [_LETTER.findall(run[0]) if run["dense"] else [run[0]] for run in _RUN.finditer(word)]
    return runs


def _parted(text: str) -> str:
    """The text with blanks round symbols, without what is there for terminals, and without line ends where a script
    without blanks goes on behind them.
    """
    if "\x1b" in text or "\x08" in text:
        text = _TERMINAL.sub("", text)
    if text.isascii():
        return text
    parted: str = _SYMBOL.sub(r" \g<0> ", _BROKEN_LINE.sub("", text))
    return parted


def _pairs(run: list[str]) -> list[str]:
    return [first + second for first, second in pairwise(run)]
