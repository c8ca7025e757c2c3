"""Which files the demo ingests: the reader's, or this repository's own documents. Reads, never writes."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.files.decoding import decode
from core.plain_values import plain_text

_ROOT = Path(__file__).parents[2]
_OWN_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md")
_KINDS = {".txt": "text", ".md": "text", ".html": "text", ".htm": "text", ".pdf": "pdf"}
_FILE_BYTES_MAX = 10 * 1024 * 1024
_FILES_MAX = 500


@dataclass(frozen=True)
class InputFile:
    """A file to ingest."""

    name: str
    path: Path

    def as_object(self) -> dict[str, Any]:
        """The body of a published object create."""
        content = self.path.read_bytes()
        kind = _KINDS[self.path.suffix.lower()]
        data = base64.b64encode(content).decode() if kind == "pdf" else _text(content)
        blob = {"property": "content", "type": kind, "data": data, "metadata": {"filename": self.name}}
        return {"key_prefix": "/demo", "blobs": [blob], "metadata": {"title": self.name}}


def _text(content: bytes) -> str:
    """A text as JSON can carry it."""
    return plain_text(decode(content).text.replace("\x00", ""))


class NoInputError(Exception):
    """There is nothing to ingest."""


def input_files(given: Path | None) -> list[InputFile]:
    """The files of `given`, or our own documents. Raises NoInputError, saying what would be right."""
    if given is not None and not given.exists():
        raise NoInputError(f"{given} does not exist")
    root = _ROOT if given is None else (given if given.is_dir() else given.parent)
    files = [InputFile(str(path.relative_to(root)), path) for path in sorted(_candidates(given)) if _is_usable(path)]
    if not files:
        raise NoInputError(f"{given} holds no file that ends in {', '.join(_KINDS)} and is under 10 MiB")
    return files[:_FILES_MAX]


def _candidates(given: Path | None) -> Iterator[Path]:
    if given is None:
        for pattern in _OWN_DOCUMENTS:
            yield from _ROOT.glob(pattern)
    elif given.is_dir():
        yield from given.rglob("*")
    else:
        yield given


def _is_usable(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in _KINDS and 0 < path.stat().st_size <= _FILE_BYTES_MAX
