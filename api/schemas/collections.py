"""Collections and documents on the wire."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, Field, StringConstraints

from api.call import refuse, validated
from api.schemas.fields import Body, Description, FreeForm, Identifier, ShortText, name_of
from core.buckets.bucket import Bucket
from core.collections.collection import Collection, Document, ExtractorConfig
from core.collections.extractor_parameters import EXTRACTORS, OUTPUT_SCHEMAS
from core.errors import FieldProblem, ValidationFailedError
from core.ids import Prefix


class SourceBody(Body):
    """Where a collection's objects come from. Prose names one `bucket_id`, the schema a list."""

    type: Annotated[str, StringConstraints(max_length=50)] = "bucket"
    bucket_ids: list[Identifier] = Field(default_factory=list, max_length=50)
    bucket_id: Identifier | None = None

    @property
    def buckets(self) -> list[str]:
        """Ids or names of the buckets, each once."""
        return list(dict.fromkeys([*self.bucket_ids, *([self.bucket_id] if self.bucket_id else [])]))


class PassthroughBody(Body):
    """A field of the object that its documents carry."""

    source_path: ShortText
    target_path: ShortText | None = None


class ExtractorBody(Body):
    """Which extractor, and how it is set."""

    feature_extractor_name: ShortText
    version: ShortText = "v1"
    parameters: FreeForm = Field(default_factory=dict, validation_alias=AliasChoices("parameters", "params"))
    input_mappings: dict[ShortText, ShortText] = Field(default_factory=dict, max_length=50)
    field_passthrough: list[PassthroughBody] = Field(default_factory=list, max_length=100)
    include_all_source_fields: bool = False


class CollectionBody(Body):
    """POST /v1/collections"""

    collection_name: Annotated[
        str, StringConstraints(min_length=3, max_length=100), AfterValidator(name_of(Prefix.COLLECTION))
    ]
    source: SourceBody
    feature_extractor: ExtractorBody
    description: Description | None = None
    metadata: FreeForm = Field(default_factory=dict)


def extractor_config(body: ExtractorBody) -> ExtractorConfig:
    """The extractor as it will run, all defaults filled in. Raises ValidationFailedError."""
    model = EXTRACTORS.get((body.feature_extractor_name, body.version))
    if model is None:
        known = ", ".join(f"{name} {version}" for name, version in EXTRACTORS)
        problem = FieldProblem(
            ("feature_extractor", "feature_extractor_name"), f"available: {known}", "feature_extractor_not_found"
        )
        raise ValidationFailedError([problem])
    renamed = [field for field in body.field_passthrough if field.target_path not in {None, field.source_path}]
    if renamed:
        raise refuse("feature_extractor", "field_passthrough cannot rename a field yet: leave target_path out")
    parameters: BaseModel = validated(model, body.parameters, ("feature_extractor", "parameters"))
    return ExtractorConfig(
        name=body.feature_extractor_name,
        version=body.version,
        parameters=parameters.model_dump(mode="json"),
        input_mappings=body.input_mappings,
        field_passthrough=tuple(field.source_path for field in body.field_passthrough),
        include_all_source_fields=body.include_all_source_fields,
    )


def show_collection(collection: Collection, buckets: Mapping[str, Bucket]) -> dict[str, Any]:
    """The published CollectionResponse. Its input schema is that of its buckets, which `buckets` has by id."""
    extractor = collection.extractor
    sources = [buckets[bucket_id] for bucket_id in collection.bucket_ids if bucket_id in buckets]
    inputs = {name: declared for bucket in sources for name, declared in bucket.properties.items()}
    carried = {
        name: declared
        for name, declared in inputs.items()
        if extractor.include_all_source_fields or name in extractor.field_passthrough
    }
    return {
        "collection_id": collection.collection_id,
        "collection_name": collection.collection_name,
        "description": collection.description,
        "source": {"type": "bucket", "bucket_ids": list(collection.bucket_ids)},
        "feature_extractor": {
            "feature_extractor_name": extractor.name,
            "version": extractor.version,
            "feature_extractor_id": extractor.extractor_id,
            "parameters": extractor.parameters,
            "params": extractor.parameters,
            "input_mappings": extractor.input_mappings,
            "field_passthrough": [{"source_path": name} for name in extractor.field_passthrough],
            "include_all_source_fields": extractor.include_all_source_fields,
        },
        "input_schema": {"properties": inputs},
        "output_schema": {"properties": {**carried, **OUTPUT_SCHEMAS[extractor.name]}},
        "metadata": collection.metadata,
        "enabled": True,
        "created_at": collection.created_at,
        "updated_at": collection.updated_at,
    }


def show_document(document: Document) -> dict[str, Any]:
    """The published DocumentResponse: the payload at top level, lineage over it."""
    return {
        **document.payload,
        "document_id": document.document_id,
        "collection_id": document.collection_id,
        "source_object_id": document.source_object_id,
        "root_object_id": document.source_object_id,
        "source_type": "bucket",
        "chunk_index": document.chunk_index,
        "created_at": document.created_at,
    }
