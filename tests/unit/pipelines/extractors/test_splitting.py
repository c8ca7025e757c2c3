"""Pieces of a text: bounded, complete, cut where the collection asks for."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from semantic_text_splitter import MarkdownSplitter, TextSplitter

from core.collections.extractor_parameters import SplitBy, TextExtractorParameters
from pipelines.extractors import splitting
from pipelines.extractors.splitting import split

TEXT = "Keys rotate daily. Vaults keep them safe.\n\nQueues carry doorbells. Workers answer them, one by one, in turn."


def pieces(text: str, by: SplitBy, size: int = 50, overlap: int = 0) -> list[str]:
    """The text, split."""
    return list(split(text, False, TextExtractorParameters(split_by=by, chunk_size=size, chunk_overlap=overlap)))


def test_sentences_stay_whole() -> None:
    assert pieces(TEXT, SplitBy.SENTENCES) == [
        "Keys rotate daily. Vaults keep them safe.",
        "Queues carry doorbells.",
        "Workers answer them, one by one, in turn.",
    ]


def test_paragraphs_are_never_joined() -> None:
    assert pieces("One.\n\nTwo.\n \nThree.", SplitBy.PARAGRAPHS) == ["One.", "Two.", "Three."]
    assert pieces("One.\n\nTwo.", SplitBy.SENTENCES) == ["One.\n\nTwo."]


@pytest.mark.parametrize("by", list(SplitBy))
def test_a_text_of_which_nothing_shows_makes_no_piece(by: SplitBy) -> None:
    assert pieces("\u200b \ufeff\n\u00ad\u2060\x1b\t\u3164", by) == []
    assert pieces("\u200b\u2764\ufe0f", by) == ["\u200b\u2764\ufe0f"]


def test_words_fill_a_piece_and_repeat_within_the_overlap() -> None:
    text = " ".join(f"word{number:02}" for number in range(12))
    found = pieces(text, SplitBy.WORDS, overlap=14)
    assert found[0].split() == [f"word{number:02}" for number in range(7)]
    assert found[1].split()[:2] == ["word05", "word06"]


def test_characters_are_plain_windows() -> None:
    assert pieces("a" * 120, SplitBy.CHARACTERS, overlap=10) == ["a" * 50, "a" * 50, "a" * 40]


def test_none_keeps_the_text_whole() -> None:
    assert pieces(TEXT * 20, SplitBy.NONE) == [TEXT * 20]


def test_markdown_is_cut_at_its_headings() -> None:
    text = "# One\n\nFirst body of text.\n\n# Two\n\nSecond body of text."
    assert list(split(text, True, TextExtractorParameters(chunk_size=50))) == [
        "# One\n\nFirst body of text.",
        "# Two\n\nSecond body of text.",
    ]


@pytest.mark.parametrize("by", [by for by in SplitBy if by is not SplitBy.NONE])
@given(text=st.text(st.sampled_from("ab .\n"), max_size=400), overlap=st.integers(0, 49))
def test_nothing_is_lost_and_no_piece_is_too_long(by: SplitBy, text: str, overlap: int) -> None:
    found = pieces(text, by, overlap=overlap)
    assert all(0 < len(piece) <= 50 for piece in found)
    assert set("".join(found)) - {" ", "\n"} == set(text) - {" ", "\n"}
    if overlap == 0:
        assert "".join("".join(found).split()) == "".join(text.split())


# Grapheme clusters ----------------------------------------------------------------------------------

FAMILY, FLAG, ACCENT, JAMO, LINE = "👨‍👩‍👧‍👦", "🇩🇪", "e\u0301", "\u1112\u1161\u11ab", "\r\n"
DEVANAGARI, KEYCAP, SKIN = "क्षि", "1\ufe0f\u20e3", "👍🏽"
CUT = [by for by in SplitBy if by is not SplitBy.NONE]


def clusters(text: str) -> list[str]:
    """The text's grapheme clusters, by the library's own rule alone."""
    return [str(found) for found in regex.findall(r"\X", text)]


def without_blanks(parts: list[str]) -> list[str]:
    """The parts that show."""
    return [part for part in parts if part.strip()]


@pytest.mark.parametrize("by", CUT)
@pytest.mark.parametrize("overlap", [0, 20, 49])
@pytest.mark.parametrize("sign", [FAMILY, FLAG, ACCENT, JAMO, DEVANAGARI, KEYCAP, SKIN])
@pytest.mark.parametrize("before", ["", "a", "ab ", "日"])
def test_no_sign_is_cut_in_two(by: SplitBy, overlap: int, sign: str, before: str) -> None:
    text = before + sign * 60
    found = pieces(text, by, overlap=overlap)
    assert len(found) > 1
    for piece in found:
        assert len(piece) <= 50
        assert set(clusters(piece)) <= {*before, sign}
    if overlap == 0:
        assert "".join(found).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("by", [SplitBy.CHARACTERS, SplitBy.WORDS])
@given(
    parts=st.lists(
        st.sampled_from([FAMILY, FLAG, ACCENT, JAMO, LINE, DEVANAGARI, "a", "b c", "日", " ", "\u0301", "."])
    ),
    overlap=st.integers(0, 49),
)
def test_pieces_are_whole_signs_of_the_text(by: SplitBy, parts: list[str], overlap: int) -> None:
    text = "".join(parts * 4)
    whole = without_blanks(clusters(text))
    found = pieces(text, by, overlap=overlap)
    if overlap == 0:
        assert [sign for piece in found for sign in without_blanks(clusters(piece))] == whole
    assert all(set(without_blanks(clusters(piece))) <= set(whole) for piece in found)
    assert all(0 < len(piece) <= 50 for piece in found)


def test_the_overlap_repeats_whole_signs() -> None:
    first, second, *_ = pieces("ab" + FLAG * 60, SplitBy.CHARACTERS, overlap=3)
    assert first == "ab" + FLAG * 24
    assert second == FLAG * 25


@pytest.mark.parametrize("by", CUT)
def test_a_sign_that_is_longer_than_a_piece_is_cut_after_as_many_characters(by: SplitBy) -> None:
    sign = "e" + "\u0301" * 200
    found = pieces(f"{sign} a", by)
    assert [len(piece) for piece in found[:4]] == [50, 50, 50, 50]
    assert "".join(found).replace(" ", "") == f"{sign}a"


# Work in proportion to the text ---------------------------------------------------------------------


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all texts that the libraries are given: their own time may grow with the square."""
    lengths: list[int] = []

    def counted(kind: Callable[..., Any]) -> Callable[..., Any]:
        def make(*given: Any, **named: Any) -> Any:
            splitter = kind(*given, **named)

            def count(method: str, text: str) -> Any:
                lengths.append(len(text))
                return getattr(splitter, method)(text)

            return SimpleNamespace(chunks=partial(count, "chunks"), chunk_indices=partial(count, "chunk_indices"))

        return make

    for kind in (TextSplitter, MarkdownSplitter):
        monkeypatch.setattr(splitting, kind.__name__, counted(kind))
    return lengths


UNBROKEN = {
    "letters": "a",
    "cjk": "東京都の天気予報",
    "families": FAMILY,
    "flags": FLAG,
    "accents": "e" + "\u0301" * 9,
    "lines": "line\n",
    "blanks": " ",
    "words": "word ",
    "sentences": "It is a sentence. ",
    "paragraphs": "x\n\n",
}


@pytest.mark.parametrize(("by", "is_markdown"), [*((by, False) for by in CUT), (SplitBy.SENTENCES, True)])
@pytest.mark.parametrize("unit", UNBROKEN.values(), ids=UNBROKEN)
@pytest.mark.parametrize("overlap", [0, 200])
def test_the_work_grows_with_the_text_and_not_with_its_square(
    handed: list[int], unit: str, by: SplitBy, is_markdown: bool, overlap: int
) -> None:
    parameters = TextExtractorParameters(split_by=by, chunk_size=400, chunk_overlap=overlap)
    text = unit * (60_000 // len(unit))
    found = list(split(text, is_markdown, parameters))
    assert max(handed, default=0) <= 40 * parameters.chunk_size
    assert sum(handed) <= 3 * len(text) + 40 * parameters.chunk_size
    assert sum(map(len, found)) <= 2 * len(text) + len(found)
    if overlap == 0:
        assert "".join("".join(found).split()) == "".join(text.split())


def test_pieces_are_cut_as_they_are_asked_for() -> None:
    parameters = TextExtractorParameters(split_by=SplitBy.CHARACTERS, chunk_size=5001, chunk_overlap=5000)
    assert [len(piece) for piece in islice(split("a" * 10_000_000, False, parameters), 10)] == [5001] * 10


def test_a_long_text_is_cut_where_a_short_one_would_be() -> None:
    paragraph = "It is a sentence of some length. It is another one!\n\n"
    parameters = TextExtractorParameters(chunk_size=120)
    whole = TextSplitter(120).chunks(paragraph * 500)
    assert list(split(paragraph * 500, False, parameters)) == whole
    overlapping = TextExtractorParameters(chunk_size=120, chunk_overlap=60)
    whole = TextSplitter(120, overlap=60).chunks(paragraph * 500)
    assert list(split(paragraph * 500, False, overlapping)) == whole
    headings = "# Head\n\n" + paragraph * 3 + "- item\n- item\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n"
    assert list(split(headings * 100, True, parameters)) == MarkdownSplitter(120).chunks(headings * 100)
