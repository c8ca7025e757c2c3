"""A model's answer as it gets into a document, which says so when the answer is cut."""

import threading
from collections.abc import Mapping
from typing import Any, Final

from pipelines.llm.provider import Completion, End
from pipelines.room import Room
from pipelines.stage import Document
from pipelines.template_values import with_field

TRUNCATED: Final = "truncated"
"""The documents' field that lists which answers in it are cut, and why."""


class Answers:
    """The answers of one stage, on their way into one field. Safe to use from several threads."""

    def __init__(self, path: str, room: Room) -> None:
        """`path` is the field, dotted."""
        self._path = path
        self._room = room
        self._cut = 0
        self._lock = threading.Lock()

    def into(self, document: Document, answer: Completion) -> Document:
        """A copy of the document with the answer's value, or its text. Raises RoomExhaustedError."""
        self._room.take(len(answer.text))
        with self._lock:
            self._cut += answer.end is not End.WHOLE
        value = answer.text if answer.value is None else answer.value
        return with_field(self._marked(document, answer.end), self._path, value)

    @property
    def facts(self) -> dict[str, int]:
        """What the stage's statistics say about them."""
        return {"truncated_answers": self._cut} if self._cut else {}

    def _marked(self, document: Document, end: End) -> Document:
        """A copy whose list of cut answers is right about this field; without any, there is no list."""
        before = document.get(TRUNCATED)
        if end is End.WHOLE and not isinstance(before, list):
            return document
        marks = [mark for mark in before if not self._is_ours(mark)] if isinstance(before, list) else []
        if end is not End.WHOLE:
            marks.append({"field": self._path, "reason": end.value})
        unmarked = {name: value for name, value in document.items() if name != TRUNCATED}
        return {**unmarked, TRUNCATED: marks} if marks else unmarked

    def _is_ours(self, mark: Any) -> bool:
        return isinstance(mark, Mapping) and mark.get("field") == self._path
