"""What reading a file comes to: a text with remarks, or why there is none. Types only."""

import errno
from dataclasses import dataclass
from typing import Final, TypeAlias

NO_MEMORY: Final = errno.ENOMEM
"""The exit code of a reading process that found no memory for a file as a whole."""


@dataclass(frozen=True)
class Remark:
    """Something that the customer should know of a text that was read."""

    code: str
    message: str
    count: int = 1
    """how often: of pages, of pieces, of one complaint"""
    lost: bool = False
    """whether something of the file is not in the text"""


@dataclass(frozen=True)
class Text:
    """What was read, and whether its structure is Markdown."""

    content: str
    is_markdown: bool = False
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """Why nothing was read."""

    code: str
    message: str


@dataclass(frozen=True)
class Pieces:
    """A text that was read and cut: what becomes documents, in order."""

    texts: list[str]
    remarks: tuple[Remark, ...] = ()


Reading: TypeAlias = Text | Unreadable
Cutting: TypeAlias = Pieces | Unreadable
