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
_TURKISH_I = regex.compile("[iı]\u0307*")
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}]*|\p{Regional_Indicator}{2}|\p{Extended_Pictographic}")
_WITHOUT_BLANKS = (
    r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{scx=Hangul}\p{scx=Yi}\p{Line_Break=SA}"
)
"""Characters of scripts that put no blanks between words, of Hangul, which joins particles to them, and of Thai and its
kin, which Unicode tells by how their lines break."""
_RUN = regex.compile(rf"(?P<dense>[{_WITHOUT_BLANKS}][{_WITHOUT_BLANKS}\p{{M}}]*)|[^{_WITHOUT_BLANKS}]+")
_LETTER = regex.compile(r"\P{M}\p{M}*")


def folded(text: str) -> str:
    """One spelling for all that reads alike: Unicode's NFKC and full case folding, and one letter for Turkish's i's."""
    if text.isascii():
        return text.lower()
    seen = _UNSEEN.sub("", normalize("NFD", text))
    # twice, because what a compatibility character stands for may have capitals
    plain = normalize("NFKC", normalize("NFKC", seen.casefold()).casefold())
    return normalize("NFKC", _TURKISH_I.sub("i", normalize("NFD", plain)))


def document_words(text: str) -> list[str]:
    """The words by which a text is found. Of a script without blanks: each character, and each two in a row."""
    return [word for run in _runs(text) for word in (run if len(run) == 1 else [*run, *_pairs(run)])]


def query_words(text: str) -> list[str]:
    """The words to look for. Of a script without blanks: each two characters in a row, or the only one."""
    return [word for run in _runs(text) for word in (run if len(run) == 1 else _pairs(run))]


def _runs(text: str) -> list[list[str]]:
    """Each word as a list of itself; of a script without blanks, the characters that stand together."""
    runs: list[list[str]] = []
    for word in _WORD.findall(folded(text)):
        if word.isascii():
            runs.append([word])
        else:
            runs += [_LETTER.findall(run[0]) if run["dense"] else [run[0]] for run in _RUN.finditer(word)]
    return runs


def _pairs(run: list[str]) -> list[str]:
    return [first + second for first, second in pairwise(run)]
