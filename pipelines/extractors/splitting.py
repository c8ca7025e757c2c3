"""Cuts a text into pieces of a bounded size, at the boundaries that a collection asks for. Pure.

No piece ends within a grapheme cluster, what a reader takes for one sign, unless the cluster is longer than a piece.
The work grows with the text, never with its square, and pieces are made as they are asked for.
"""

from collections import deque
from collections.abc import Callable, Iterator

import regex
from semantic_text_splitter import MarkdownSplitter, TextSplitter

from core.collections.extractor_parameters import SplitBy, TextExtractorParameters

_PARAGRAPH_BREAK = regex.compile(r"\n\s*\n")
# pairs of regional indicators first: to tell an odd one from an even one, \X goes back to the first of them each time
_CLUSTER = regex.compile(r"\p{RI}{2}[\p{GCB=Extend}\p{GCB=SpacingMark}\u200d]*+|\X")
# a blank with a mark upon it is a sign that shows
_BLANK = r"\s(?![\p{GCB=Extend}\p{GCB=SpacingMark}\u200d])"
_WORD = regex.compile(rf"(?:(?!{_BLANK}).)++(?:{_BLANK})*+", regex.DOTALL)
_SHOWS = regex.compile(r"[^\s\p{Default_Ignorable_Code_Point}\p{Cc}]")
_BLANKS_BEFORE = regex.compile(rf"\A(?:{_BLANK})++")
_WINDOW_PIECES = 16
_WINDOW_CHARACTERS = 4096
"""What the library for sentences is given at once: it looks at all of a text for each piece."""

_Cut = Callable[[str], Iterator[str]]


def split(text: str, is_markdown: bool, parameters: TextExtractorParameters) -> Iterator[str]:
    """Pieces of at most `chunk_size` characters, none of them without a sign that shows; one piece for `none`."""
    for piece in _pieces(text, is_markdown, parameters):
        if _SHOWS.search(piece):
            yield _BLANKS_BEFORE.sub("", piece).rstrip()


def _pieces(text: str, is_markdown: bool, parameters: TextExtractorParameters) -> Iterator[str]:
    size, overlap = parameters.chunk_size, parameters.chunk_overlap
    by_sentences = _sentences(is_markdown, size, overlap)
    match parameters.split_by:
        case SplitBy.NONE:
            yield text
        case SplitBy.CHARACTERS:
            yield from _by_characters(text, size, overlap)
        case SplitBy.WORDS:
            yield from _by_words(text, size, overlap)
        case SplitBy.PARAGRAPHS:
            for paragraph in _PARAGRAPH_BREAK.splititer(text):
                yield from by_sentences(paragraph)
        case SplitBy.SENTENCES:
            yield from by_sentences(text)


def _by_characters(text: str, size: int, overlap: int) -> Iterator[str]:
    """As many whole signs as fit, whatever they are."""
    start = end = 0
    while end < len(text):
        end = _end_of_signs(text, start, start + size)
        yield text[start:end]
        start = _start_of_signs(text, start, end, overlap)


def _end_of_signs(text: str, start: int, most: int) -> int:
    """The last place up to `most` where no sign is cut, counted from the sign at `start`; `most` if there is none."""
    if most >= len(text) or _is_between_letters(text, most):
        return min(most, len(text))
    for sign in _CLUSTER.finditer(text, start, most + 1):
        if sign.end() > most:
            return sign.start() if sign.start() > start else most
    return most


def _start_of_signs(text: str, start: int, end: int, overlap: int) -> int:
    """Where the piece after `text[start:end]` begins, so that it repeats at most `overlap` characters."""
    wanted = max(end - overlap, start + 1)
    if wanted == end or _is_between_letters(text, wanted):
        return wanted
    boundaries = (sign.end() for sign in _CLUSTER.finditer(text, start, end))
    return next((place for place in boundaries if place >= wanted), end)


def _is_between_letters(text: str, place: int) -> bool:
    """Whether two signs surely meet here: both of ASCII, and no line end of two characters."""
    around = text[max(0, place - 1) : place + 1]
    return around.isascii() and around != "\r\n"


def _by_words(text: str, size: int, overlap: int) -> Iterator[str]:
    """As many whole words as fit; a word longer than a piece is cut between its signs."""
    words: deque[str] = deque()
    length = 0
    for word in (part for found in _WORD.finditer(text) for part in _by_characters(found[0], size, 0)):
        needed = len(word.rstrip())
        if words and length + needed > size:
            yield "".join(words)
            # the words that are repeated leave room for the next one
            while words and (length > overlap or length + needed > size):
                length -= len(words.popleft())
        words.append(word)
        length += len(word)
    yield "".join(words)


def _sentences(is_markdown: bool, size: int, overlap: int) -> _Cut:
    """Cuts into whole sections, paragraphs or sentences, the largest that fit."""
    splitter = (MarkdownSplitter if is_markdown else TextSplitter)(size, overlap=overlap)
    window = max(_WINDOW_CHARACTERS, _WINDOW_PIECES * size)

    def cut(text: str) -> Iterator[str]:
        start = 0
        while start < len(text):
            part = text[start : start + window]
            found = splitter.chunk_indices(part)
            # the last one may have been cut off by the window's end: the next window begins with it
            again = found.pop() if len(found) > 1 and start + window < len(text) else None
            yield from (piece for _, piece in found)
            start += again[0] if again else window

    return cut
