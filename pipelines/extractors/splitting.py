"""Cuts a text into pieces of a bounded size, at the boundaries that a collection asks for. Pure."""

import re

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from core.collections.extractor_parameters import SplitBy, TextExtractorParameters

_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
_WORD = re.compile(r"\S+\s*")


def split(text: str, is_markdown: bool, parameters: TextExtractorParameters) -> list[str]:
    """Pieces of at most `chunk_size` characters, none of them blank; one piece for `none`."""
    match parameters.split_by:
        case SplitBy.NONE:
            pieces = [text]
        case SplitBy.CHARACTERS:
            step = parameters.chunk_size - parameters.chunk_overlap
            pieces = [text[start : start + parameters.chunk_size] for start in range(0, len(text), step)]
        case SplitBy.WORDS:
            pieces = _by_words(text, parameters)
        case SplitBy.PARAGRAPHS:
            paragraphs = _PARAGRAPH_BREAK.split(text)
            pieces = [piece for part in paragraphs for piece in _by_sentences(part, is_markdown, parameters)]
        case SplitBy.SENTENCES:
            pieces = _by_sentences(text, is_markdown, parameters)
    return [piece.strip() for piece in pieces if piece.strip()]


def _by_sentences(text: str, is_markdown: bool, parameters: TextExtractorParameters) -> list[str]:
    """Whole sections, paragraphs or sentences, the largest that fit."""
    splitter = MarkdownSplitter if is_markdown else TextSplitter
    return splitter(parameters.chunk_size, overlap=parameters.chunk_overlap).chunks(text)


def _by_words(text: str, parameters: TextExtractorParameters) -> list[str]:
    """As many whole words as fit; a word longer than a piece is cut."""
    size = parameters.chunk_size
    words = [word[start : start + size] for word in _WORD.findall(text) for start in range(0, len(word), size)]
    pieces: list[str] = []
    start = 0
    while start < len(words):
        end, length = start, 0
        while end < len(words) and length + len(words[end].rstrip()) <= size:
            length += len(words[end])
            end += 1
        pieces.append("".join(words[start:end]))
        start = end if end == len(words) else _overlapping(words, start, end, parameters.chunk_overlap)
    return pieces


def _overlapping(words: list[str], start: int, end: int, overlap: int) -> int:
    """Where the next piece starts, so that it repeats at most `overlap` characters and still gets on."""
    length = 0
    while end - 1 > start and length + len(words[end - 1]) <= overlap:
        end -= 1
        length += len(words[end])
    return end
