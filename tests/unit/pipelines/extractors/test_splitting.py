"""Pieces of a text: bounded, complete, cut where the collection asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.collections.extractor_parameters import SplitBy, TextExtractorParameters
from pipelines.extractors.splitting import split

TEXT = "Keys rotate daily. Vaults keep them safe.\n\nQueues carry doorbells. Workers answer them, one by one, in turn."


def pieces(text: str, by: SplitBy, size: int = 50, overlap: int = 0) -> list[str]:
    """The text, split."""
    return split(text, False, TextExtractorParameters(split_by=by, chunk_size=size, chunk_overlap=overlap))


def test_sentences_stay_whole() -> None:
    assert pieces(TEXT, SplitBy.SENTENCES) == [
        "Keys rotate daily. Vaults keep them safe.",
        "Queues carry doorbells.",
        "Workers answer them, one by one, in turn.",
    ]


def test_paragraphs_are_never_joined() -> None:
    assert pieces("One.\n\nTwo.\n \nThree.", SplitBy.PARAGRAPHS) == ["One.", "Two.", "Three."]
    assert pieces("One.\n\nTwo.", SplitBy.SENTENCES) == ["One.\n\nTwo."]


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
    assert split(text, True, TextExtractorParameters(chunk_size=50)) == [
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
