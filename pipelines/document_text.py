"""A document as a model reads it."""

import json
from collections.abc import Mapping
from typing import Any

from core.retrievers.parameters_llm import PLACE_NAMES
from core.templating.template import template
from pipelines.stage import Document, StageContext, StageInput
from pipelines.template_values import NOWHERE, values_for

_BOOKKEEPING = frozenset(
    {"document_id", "collection_id", "score", "source_object_id", "root_object_id", "root_bucket_id", "lineage_path"}
)


def text_of(
    document: Document,
    own: str | None,
    stage: StageInput[Any],
    context: StageContext,
    place: Mapping[str, Any] = NOWHERE,
) -> str:
    """The document by the stage's own template, or its text, or all of its fields as JSON.

    `place` is what the template is told about where the text will stand, in `CONTEXT` and beside it.
    """
    if own is not None:
        values = {**values_for(stage, context, document, place), **place}
        rendered = template(own, PLACE_NAMES).render(values)
        context.room.take(len(rendered))
        return rendered
    text = document.get("text")
    if isinstance(text, str) and text:
        return text
    fields: Mapping[str, object] = {name: value for name, value in document.items() if name not in _BOOKKEEPING}
    return json.dumps(fields, ensure_ascii=False, default=str)
