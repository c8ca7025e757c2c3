"""`summarize`: one answer of a model over all documents, or one for each group of them, or for each of them."""

from collections.abc import Sequence
from typing import Any

from core.retrievers.estimate import summary_reads
from core.retrievers.filters import value_at
from core.retrievers.parameters_llm import SUMMARY_NAMES, Summarize
from core.templating.template import template
from pipelines.document_answer import Answers
from pipelines.document_text import text_of
from pipelines.llm.access import ModelChoice
from pipelines.llm.provider import LlmRequest
from pipelines.packing import Strategy, packed
from pipelines.per_document import Manner, per_document
from pipelines.stage import Document, StageContext, StageInput, StageOutput
from pipelines.template_values import values_for, with_field
from pipelines.tokens import count_tokens

_BETWEEN = "\n\n---\n\n"
_STRATEGIES: dict[str, Strategy] = {"drop_last": "whole", "truncate_each": "equal", "smart": "proportional"}


def summarize(stage: StageInput[Summarize], context: StageContext) -> StageOutput:
    """One document for each group, with the summary, the group's value, and what it was made of; or each document with
    its own summary."""
    parameters = stage.parameters
    groups = _groups(stage.documents or [], parameters)
    choice = ModelChoice(parameters.provider, parameters.model, parameters.api_key)
    answers = Answers(parameters.output_field, context.room)

    def summary(group: Document) -> Document:
        members: Sequence[Document] = group["members"]
        request, used = _request(stage, context, members, group.get("value"))
        answer = context.llm.complete(choice, request)
        of = members[0] if parameters.mode == "per_document" else _made_of(group, used, stage)
        return answers.into(of, answer)

    manner = Manner(context.llm.most_concurrent, "raise", context.check_cancelled, context.llm.stopping)
    output = per_document(groups, summary, manner)
    # groups that the credits did not reach have no summary to give on
    unread = {id(group) for group in groups}
    made = [document for document in output.documents if id(document) not in unread]
    return StageOutput(made, facts={**output.facts, **answers.facts}, exhausted=output.exhausted)


def _made_of(group: Document, used: int, stage: StageInput[Summarize]) -> Document:
    """The document of a group, without its summary."""
    members: Sequence[Document] = group["members"]
    made: Document = {
        "document_id": f"summary:{stage.stage_name}:{group['number']}",
        "collection_id": members[0].get("collection_id"),
        "source_document_ids": [member.get("document_id") for member in members],
        "documents_used": used,
    }
    field = stage.parameters.group_by
    return made if field is None else with_field(made, field, group["value"])


def _groups(documents: Sequence[Document], parameters: Summarize) -> list[dict[str, Any]]:
    """Documents by the value of the field, in the order of each value's first one; or each by itself."""
    if parameters.mode == "per_document":
        return [{"members": [document]} for document in documents]
    field = parameters.group_by
    groups: dict[str, dict[str, Any]] = {}
    for document in documents:
        value = value_at(document, field) if field is not None else None
        group = groups.setdefault(repr(value), {"number": len(groups), "value": value, "members": []})
        group["members"].append(document)
    return list(groups.values())


def _request(
    stage: StageInput[Summarize], context: StageContext, members: Sequence[Document], group_value: Any
) -> tuple[LlmRequest, int]:
    """What to ask about these documents, and how many of them are in it."""
    parameters, prompt = stage.parameters, template(stage.parameters.prompt, SUMMARY_NAMES)
    values = {**values_for(stage, context, members[0]), "DOC_COUNT": len(members), "GROUP_VALUE": group_value}
    around = prompt.render({**values, "DOCUMENTS": ""})
    texts = [
        text_of(member, parameters.document_template, stage, context, {"INDEX": number})
        for number, member in enumerate(members, start=1)
    ]
    room = max(1, parameters.max_input_tokens - count_tokens(around))
    pieces = packed(texts, room, count_tokens(_BETWEEN), _STRATEGIES[parameters.truncation_strategy])
    documents = _BETWEEN.join(piece for piece in pieces if piece)
    says_where = "DOCUMENTS" in prompt.names
    request = LlmRequest(
        parameters.model,
        prompt.render({**values, "DOCUMENTS": documents}) if says_where else f"{around}\n\nDocuments:\n{documents}",
        parameters.max_output_tokens,
        temperature=parameters.temperature,
        schema=parameters.output_schema,
        most_read=summary_reads(parameters, len(around.encode())),
    )
    return request, sum(1 for piece in pieces if piece)
