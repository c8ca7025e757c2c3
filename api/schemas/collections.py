"""Collections and documents on the wire."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

from api.call import refuse, validated
from api.schemas.buckets import SchemaView, show_schema
from api.schemas.fields import Answer, Body, Description, FreeForm, Identifier, ShortText, View, name_of, name_pattern
from api.schemas.paging import ListView, TotalCountListView
from core.buckets.bucket import Bucket
from core.collections.collection import Collection, Document, ExtractorConfig
from core.collections.document_fields import passthrough_problem
from core.collections.extractor_parameters import EXTRACTOR_INPUTS, EXTRACTORS, OUTPUT_SCHEMAS
from core.errors import FieldProblem, ValidationFailedError
from core.ids import Prefix
from core.unknown_keys import Location, UnknownKey, unknown_keys


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
    """A new collection."""

    collection_name: Annotated[
        str,
        StringConstraints(min_length=3, max_length=100),
        AfterValidator(name_of(Prefix.COLLECTION)),
        Field(json_schema_extra=name_pattern(Prefix.COLLECTION)),
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
    problems = [
        FieldProblem(("feature_extractor", "field_passthrough", index, "source_path"), reason)
        for index, field in enumerate(body.field_passthrough)
        if (reason := passthrough_problem(field.source_path))
    ]
    if problems:
        raise ValidationFailedError(problems)
    parameters: BaseModel = validated(model, body.parameters, ("feature_extractor", "parameters"))
    return ExtractorConfig(
        name=body.feature_extractor_name,
        version=body.version,
        parameters=parameters.model_dump(mode="json"),
        input_mappings=body.input_mappings,
        field_passthrough=tuple(field.source_path for field in body.field_passthrough),
        include_all_source_fields=body.include_all_source_fields,
    )


def ignored_settings(body: ExtractorBody) -> list[UnknownKey]:
    """What of the settings of an extractor that exists has no effect."""
    at: Location = ("feature_extractor",)
    inputs = EXTRACTOR_INPUTS[body.feature_extractor_name]
    model = EXTRACTORS[body.feature_extractor_name, body.version]
    return [
        *unknown_keys(model, body.parameters, (*at, "parameters")),
        *(UnknownKey((*at, "input_mappings", name), inputs) for name in body.input_mappings if name not in inputs),
    ]


class SourceView(View):
    """Where a collection's objects come from."""

    type: Literal["bucket"]
    """Always `bucket`."""
    bucket_ids: list[str]
    """The buckets."""


class PassthroughView(View):
    """A field of the object that its documents carry."""

    source_path: str
    """The field's name."""


class ExtractorView(View):
    """Which extractor, and how it is set, all defaults filled in."""

    feature_extractor_name: str
    """Its name."""
    version: str
    """Its version."""
    feature_extractor_id: str
    """Name and version in one."""
    parameters: dict[str, Any]
    """How it is set."""
    params: dict[str, Any]
    """The same parameters, under the name that some clients read."""
    input_mappings: dict[str, str]
    """Its inputs, and the properties that feed them; empty for all readable ones."""
    field_passthrough: list[PassthroughView]
    """Fields that documents carry."""
    include_all_source_fields: bool
    """Whether documents carry every field."""


class CollectionView(Answer):
    """The published CollectionResponse."""

    collection_id: str
    """The collection."""
    collection_name: str
    """Unique in its namespace."""
    description: str | None
    """What its owner says about it."""
    source: SourceView
    """Where its objects come from."""
    feature_extractor: ExtractorView
    """What is done to them."""
    input_schema: SchemaView
    """The properties of its buckets."""
    output_schema: SchemaView
    """What its documents hold."""
    metadata: dict[str, Any]
    """The owner's own facts."""
    enabled: Literal[True]
    """Always true."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class DocumentView(View):
    """The published DocumentResponse: the payload at top level, lineage over it."""

    model_config = ConfigDict(extra="allow")

    document_id: str
    """The document."""
    collection_id: str
    """The collection."""
    source_object_id: str
    """The object that it was made of."""
    root_object_id: str
    """The same object."""
    source_type: Literal["bucket"]
    """Always `bucket`."""
    chunk_index: int
    """Its place among the pieces of its object, from 0."""
    created_at: datetime
    """When it was made."""


class CollectionList(TotalCountListView[CollectionView]):
    """A page of collections."""


class DocumentList(ListView[DocumentView]):
    """A page of documents."""


def show_collection(collection: Collection, buckets: Mapping[str, Bucket]) -> CollectionView:
    """A collection as it is answered. Its input schema is that of its buckets, which `buckets` has by id."""
    extractor = collection.extractor
    sources = [buckets[bucket_id] for bucket_id in collection.bucket_ids if bucket_id in buckets]
    inputs = {name: declared for bucket in sources for name, declared in bucket.properties.items()}
    carried = {
        name: declared
        for name, declared in inputs.items()
        if extractor.include_all_source_fields or name in extractor.field_passthrough
    }
    return CollectionView(
        collection_id=collection.collection_id,
        collection_name=collection.collection_name,
        description=collection.description,
        source=SourceView(type="bucket", bucket_ids=list(collection.bucket_ids)),
        feature_extractor=_show_extractor(extractor),
        input_schema=show_schema(inputs),
        output_schema=show_schema({**carried, **OUTPUT_SCHEMAS[extractor.name]}),
        metadata=dict(collection.metadata),
        enabled=True,
        created_at=collection.created_at,
        updated_at=collection.updated_at,
    )


def _show_extractor(extractor: ExtractorConfig) -> ExtractorView:
    return ExtractorView(
        feature_extractor_name=extractor.name,
        version=extractor.version,
        feature_extractor_id=extractor.extractor_id,
        parameters=dict(extractor.parameters),
        params=dict(extractor.parameters),
        input_mappings=dict(extractor.input_mappings),
        field_passthrough=[PassthroughView(source_path=name) for name in extractor.field_passthrough],
        include_all_source_fields=extractor.include_all_source_fields,
    )


def show_document(document: Document) -> DocumentView:
    """A document as it is answered."""
    return DocumentView.model_validate(
        {
            **document.payload,
            "document_id": document.document_id,
            "collection_id": document.collection_id,
            "source_object_id": document.source_object_id,
            "root_object_id": document.source_object_id,
            "source_type": "bucket",
            "chunk_index": document.chunk_index,
            "created_at": document.created_at,
        }
    )
