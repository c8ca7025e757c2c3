"""What templates of a stage are rendered with, and conditions decided by. There is no secret among it."""

from typing import Any

from core.retrievers.filters import matches, parse_filter
from core.templating.template import template
from pipelines.stage import Document, StageContext, StageInput


def values_for(stage: StageInput[Any], context: StageContext, document: Document | None = None) -> dict[str, Any]:
    """`INPUT`, `DOC`, `CONTEXT` and `STAGE` for one document, or for none of them."""
    return {
        "INPUT": dict(stage.inputs),
        "DOC": document or {},
        "CONTEXT": {
            "namespace_id": context.namespace_id,
            "collection_ids": list(context.collection_ids),
            "document_count": len(stage.documents or []),
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
