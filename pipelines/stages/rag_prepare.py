"""`rag_prepare`: packs documents into a text for a prompt, within a budget of tokens, and cites each piece's source.

It asks no model. Tokens are counted by `pipelines.tokens`.
"""

import re
from collections.abc import Sequence

from core.retrievers.parameters_apply import RagPrepare
from pipelines.document_text import text_of
from pipelines.packing import Strategy, packed
from pipelines.stage import Document, StageContext, StageInput, StageOutput
from pipelines.template_values import with_field
from pipelines.tokens import TOKENIZER_NAME, count_tokens, first_tokens

_BETWEEN = "\n\n"
_LONGEST_MARK = 12
"""Tokens that a citation's mark takes at most."""
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLACES_THE_MARK = re.compile(r"\b(CONTEXT|context)\s*(\.\s*|\[\s*['\"])(INDEX|CITATION)\b")
"""A template that says itself where the mark or the number stands; then none is put before the text."""
_STRATEGIES: dict[str, Strategy] = {
    "priority_truncate": "priority",
    "proportional": "proportional",
    "drop_last": "whole",
}


def rag_prepare(stage: StageInput[RagPrepare], context: StageContext) -> StageOutput:
    """One document with the whole context, or each document with its piece of it."""
    parameters = stage.parameters
    documents = stage.documents or []
    marks = [_mark(parameters.citation.style, number, document) for number, document in enumerate(documents, start=1)]
    texts = [
        text_of(document, parameters.document_template, stage, context, {"INDEX": number, "CITATION": mark})
        for number, (document, mark) in enumerate(zip(documents, marks, strict=True), start=1)
    ]
    if parameters.document_template is not None and _PLACES_THE_MARK.search(parameters.document_template):
        marks = [""] * len(documents)
    around = count_tokens(_BETWEEN) + max((count_tokens(mark) for mark in marks), default=0)
    pieces = packed(texts, parameters.max_tokens - around, around, _STRATEGIES[parameters.truncation_strategy])
    marked = [f"{mark} {piece}".strip() if piece else "" for mark, piece in zip(marks, pieces, strict=True)]
    if parameters.output_mode == "formatted_list":
        return StageOutput(
            [
                with_field(document, parameters.context_field, text)
                for document, text in zip(documents, marked, strict=True)
                if text
            ]
        )
    return StageOutput([_context(stage, documents, marked)] if documents else [])


def _mark(style: str, number: int, document: Document) -> str:
    if style == "none":
        return ""
    if style in ("bracketed", "inline"):
        return first_tokens(f"[{document.get('document_id', number)}]", _LONGEST_MARK)
    return str(number).translate(_RAISED) if style == "footnote" else f"[{number}]"


def _context(stage: StageInput[RagPrepare], documents: Sequence[Document], marked: Sequence[str]) -> Document:
    text = _BETWEEN.join(piece for piece in marked if piece)
    made: Document = {
        "document_id": f"context:{stage.stage_name}",
        "collection_id": documents[0].get("collection_id"),
        "token_count": count_tokens(text),
        "tokenizer": TOKENIZER_NAME,
        "documents_used": sum(1 for piece in marked if piece),
        "citations": [
            {
                "number": number,
                "document_id": document.get("document_id"),
                "source_object_id": document.get("source_object_id"),
                "score": document.get("score"),
            }
            for number, (document, piece) in enumerate(zip(documents, marked, strict=True), start=1)
            if piece
        ],
    }
    return with_field(made, stage.parameters.context_field, text)
