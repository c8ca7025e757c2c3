"""What templates of a stage are rendered with, and conditions decided by. There is no secret among it."""

from collections.abc import Mapping
from typing import Any, Final

from core.retrievers.filters import matches, parse_filter
from core.templating.template import template
from pipelines.stage import Document, StageContext, StageInput

NOWHERE: Final[Mapping[str, Any]] = {}
_CONTENT, _TEXT = "content", "text"


class _Doc(dict[str, Any]):
    """A document as templates see it: `content`, as published pages call it, is another name of its `text`.

    Only where it is asked for: what goes over all fields meets the text once.
    """

    def __missing__(self, name: str) -> Any:
        if name == _CONTENT and _TEXT in self:
            return self[_TEXT]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(_TEXT if name == _CONTENT and not super().__contains__(name) else name)

    def get(self, name: str, default: Any = None) -> Any:
        """`content` too."""
        try:
            return self[name]
        except KeyError:
            return default


def values_for(
    stage: StageInput[Any],
    context: StageContext,
    document: Document | None = None,
    place: Mapping[str, Any] = NOWHERE,
) -> dict[str, Any]:
    """`INPUT`, `DOC`, `CONTEXT` and `STAGE` for one document, or for none of them.

    `place` is what `CONTEXT` says beyond the execution: where the document stands in what a stage makes.
    """
    return {
        "INPUT": dict(stage.inputs),
        "DOC": _Doc(document or {}),
        "CONTEXT": {
            "namespace_id": context.namespace_id,
            "collection_ids": list(context.collection_ids),
            "document_count": len(stage.documents or []),
            **place,
        },
        "STAGE": {"name": stage.stage_name},
    }


def holds(condition: Any, stage: StageInput[Any], context: StageContext, document: Document) -> bool:
    """Whether a `when` holds for a document: a template, a filter, or none at all. Raises StageError."""
    if condition is None:
        return True
    if isinstance(condition, str):
        return template(condition).holds(values_for(stage, context, document))
    return matches(parse_filter(condition), document)


def with_field(document: Document, path: str, value: Any) -> Document:
    """A copy of the document with a value at a dotted path; what is no object on the way is replaced."""
    name, _, rest = path.partition(".")
    if not rest:
        return {**document, name: value}
    inner = document.get(name)
    return {**document, name: with_field(inner if isinstance(inner, dict) else {}, rest, value)}
