"""`json_transform`: replaces each document by the JSON object that a template renders."""

from core.errors import StageError
from core.plain_values import parsed, plain
from core.retrievers.parameters_apply import JsonTransform
from core.templating.template import template
from pipelines.per_document import failure_facts
from pipelines.stage import Document, StageContext, StageInput, StageOutput
from pipelines.template_values import values_for


def json_transform(stage: StageInput[JsonTransform], context: StageContext) -> StageOutput:
    """The transformed documents; one that cannot be transformed fails the stage, or is left out and counted."""
    rendered: list[Document] = []
    failed: list[tuple[Document, StageError]] = []
    for document in stage.documents or []:
        context.check_cancelled()
        try:
            rendered.append(_transformed(document, stage, context))
        except StageError as error:
            if stage.parameters.fail_on_error:
                raise
            failed.append((document, error))
    return StageOutput(rendered, facts=failure_facts(failed))


def _transformed(document: Document, stage: StageInput[JsonTransform], context: StageContext) -> Document:
    text = template(stage.parameters.template).render(values_for(stage, context, document))
    context.room.take(len(text))
    try:
        value = parsed(text)
    except ValueError:
        raise StageError("json_transform: the template did not render JSON.") from None
    if not isinstance(value, dict):
        raise StageError("json_transform: the template must render a JSON object.")
    try:
        value = plain(value)
    except StageError as error:
        raise StageError(f"json_transform: {error.message}.") from None
    # later stages and clients find a document by its ids, whatever else the template left out
    ids = {name: document[name] for name in ("document_id", "collection_id") if name in document}
    return {**ids, **value}
