"""`llm_enrich`: asks a model about each document and writes the answer into a field of it."""

from dataclasses import replace

from core.retrievers.parameters_llm import LlmEnrich
from core.templating.template import template
from pipelines.document_answer import Answers
from pipelines.document_text import text_of
from pipelines.llm.access import ModelChoice
from pipelines.llm.provider import LlmRequest
from pipelines.per_document import Manner, per_document
from pipelines.stage import Document, StageContext, StageInput, StageOutput
from pipelines.template_values import holds, values_for


def llm_enrich(stage: StageInput[LlmEnrich], context: StageContext) -> StageOutput:
    """The same documents in their order, each with the model's answer; a schema makes it a value instead of a text."""
    parameters = stage.parameters
    choice = ModelChoice(parameters.provider, parameters.model, parameters.api_key)
    answers = Answers(parameters.output_field, context.room)

    def enrich(document: Document) -> Document:
        if not holds(parameters.when, stage, context, document):
            return document
        answer = context.llm.complete(choice, _request(stage, context, document))
        return answers.into(document, answer)

    at_once = min(parameters.batch_size, context.llm.most_concurrent)
    manner = Manner(at_once, parameters.on_error, context.check_cancelled, context.llm.stopping)
    output = per_document(stage.documents or [], enrich, manner)
    return replace(output, facts={**output.facts, **answers.facts})


def _request(stage: StageInput[LlmEnrich], context: StageContext, document: Document) -> LlmRequest:
    parameters = stage.parameters
    values = values_for(stage, context, document)
    asked = template(parameters.prompt)
    prompt = asked.render(values)
    if not asked.uses_document:
        prompt = f"{prompt}\n\nDocument:\n{text_of(document, None, stage, context)}"
    system = template(parameters.system_prompt).render(values) if parameters.system_prompt else ""
    return LlmRequest(
        parameters.model,
        prompt,
        parameters.max_tokens,
        system,
        parameters.temperature,
        parameters.output_schema,
    )
