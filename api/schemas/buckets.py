"""Buckets and objects on the wire. What a blob holds is checked in `blob_data.py`; nothing is stored here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, StringConstraints

from api.call import validated
from api.schemas.blob_data import BadDataError, blob_content
from api.schemas.fields import Answer, Body, Description, FreeForm, PathPrefix, ShortText, View, name_of, name_pattern
from api.schemas.paging import ListView, TotalCountListView
from core.buckets.bucket import (
    Bucket,
    FieldType,
    NewBlob,
    NewObject,
    StoredBlob,
    StoredObject,
    schema_problems,
)
from core.collections.document_fields import OURS, REFUSED_FIELDS, field_problems, field_warnings
from core.errors import FieldProblem, ValidationFailedError
from core.ids import IdSource, Prefix, derived_id
from core.unknown_keys import Location, unknown_keys, warnings_of

MAX_OBJECTS = 1000
"""Objects in one batch request."""
MAX_BLOBS = 100

_CONTENT_TYPE = r"^[\w.+-]+/[\w.+-]+( *; *[\w.+-]+=(\"[\w.+: -]*\"|[\w.+:-]+))*$"
_WireType = Annotated[FieldType, Field(strict=False)]


def _not_ours(name: str) -> str:
    if name in REFUSED_FIELDS - {"metadata"}:
        raise ValueError(OURS)
    return name


_PropertyName = Annotated[ShortText, AfterValidator(_not_ours)]


class SchemaField(Body):
    """One property of a bucket's schema."""

    model_config = ConfigDict(extra="allow")

    type: _WireType
    required: bool = False


class BucketSchema(Body):
    """A bucket's schema."""

    properties: dict[_PropertyName, SchemaField] = Field(default_factory=dict, max_length=200)


class BucketBody(Body):
    """A new bucket."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"bucket_name": "papers", "bucket_schema": {"properties": {"content": {"type": "text"}}}}]
        }
    )

    bucket_name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=100),
        AfterValidator(name_of(Prefix.BUCKET)),
        Field(json_schema_extra=name_pattern(Prefix.BUCKET)),
    ]
    bucket_schema: BucketSchema = Field(validation_alias=AliasChoices("bucket_schema", "schema"))
    description: Description | None = None
    metadata: FreeForm = Field(default_factory=dict)


class BlobBody(Body):
    """One blob of an object."""

    property: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    type: _WireType
    data: Any = None
    content_type: Annotated[str, StringConstraints(pattern=_CONTENT_TYPE, max_length=200)] | None = None
    metadata: FreeForm = Field(default_factory=dict)


class ObjectBody(Body):
    """One object. Keys that are not named here are the customer's data."""

    model_config = ConfigDict(extra="allow")

    key_prefix: PathPrefix | None = None
    blobs: list[BlobBody] = Field(default_factory=list, max_length=MAX_BLOBS)
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    skip_duplicates: bool = False
    canonicalize_source: bool = True
    force_remirror: bool = False
    edges: list[Any] | None = None


class ObjectData(Body):
    """The customer's own keys of an object, as one bounded value."""

    data: FreeForm


class ObjectsBody(Body):
    """Several objects. Each is validated by itself, so that one bad object fails alone."""

    objects: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_OBJECTS)


def new_object(bucket: Bucket, body: Mapping[str, Any], new_id: IdSource) -> NewObject:
    """A body as an object that fits its bucket. Raises ValidationFailedError, naming each bad field."""
    parsed = validated(ObjectBody, body)
    data = validated(
        ObjectData, {"data": {key: body[key] for key in body.keys() - ObjectBody.model_fields.keys()}}
    ).data
    blobs = [(blob.property, blob.type) for blob in parsed.blobs]
    problems = field_problems(data) + schema_problems(bucket, blobs, data)
    if problems:
        raise ValidationFailedError(problems)
    # taken in any case, so that an object's place in a request decides its id
    fresh = new_id(Prefix.OBJECT)
    key = parsed.idempotency_key
    return NewObject(
        object_id=derived_id(Prefix.OBJECT, bucket.bucket_id, key) if key else fresh,
        blobs=tuple(_new_blob(blob, index) for index, blob in enumerate(parsed.blobs)),
        data=data,
        key_prefix=parsed.key_prefix,
    )


def object_warnings(body: Mapping[str, Any], at: Location = ()) -> list[str]:
    """What of a good object has no effect, or not where it may be looked for; `at` is where it stands."""
    data = {name: value for name, value in body.items() if name not in ObjectBody.model_fields}
    kept = [f"{'.'.join(map(str, (*at, *place)))!r}: {reason}." for place, reason in field_warnings(data)]
    return warnings_of(unknown_keys(ObjectBody, body, at)) + kept


def _new_blob(blob: BlobBody, index: int) -> NewBlob:
    try:
        content_type, content = blob_content(blob.type, blob.data, blob.content_type)
    except BadDataError as error:
        raise ValidationFailedError([FieldProblem(("blobs", index, "data"), str(error))]) from None
    return NewBlob(blob.property, blob.type, content_type, content, blob.metadata)


class PropertyView(View):
    """One property of a schema, with whatever else was declared of it."""

    model_config = ConfigDict(extra="allow")

    type: _WireType
    """What kind it is."""
    required: bool = False
    """Whether it must be given."""


class SchemaView(View):
    """The shape of objects or documents."""

    properties: dict[str, PropertyView]
    """Each property by its name."""


class BucketView(Answer):
    """The published BucketResponse."""

    bucket_id: str
    """The bucket."""
    bucket_name: str
    """Unique in its namespace."""
    description: str | None
    """What its owner says about it."""
    bucket_schema: SchemaView
    """The properties that its objects may have."""
    metadata: dict[str, Any]
    """The owner's own facts."""
    object_count: int
    """How many objects there are."""
    total_size_bytes: int
    """The bytes of all blobs."""
    status: Literal["ACTIVE"]
    """Always ACTIVE."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class BlobView(View):
    """One blob of an object: what is known of its bytes."""

    blob_id: str
    """The blob."""
    property: str
    """The property of the bucket's schema that it fills."""
    type: FieldType
    """What kind it is."""
    content_type: str
    """The media type of its bytes."""
    size_bytes: int
    """How many bytes there are."""
    sha256: str
    """The digest of its bytes, in hexadecimal."""
    properties: dict[str, Any]
    """The metadata that was sent with it."""


class ObjectView(View):
    """The published ObjectResponse: the customer's keys at top level, ours over them."""

    model_config = ConfigDict(extra="allow")

    object_id: str
    """The object."""
    bucket_id: str
    """The bucket."""
    key_prefix: str | None
    """As it was given."""
    blobs: list[BlobView]
    """Its blobs."""
    status: Literal["ACTIVE"]
    """Always ACTIVE."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class CreatedObjectView(ObjectView, Answer):
    """An object as its create answers it: of a customer's own `warnings`, only ours are shown here."""

    model_config = ConfigDict(extra="allow")


class NumberedObjectView(ObjectView):
    """An object that was made in a batch request."""

    object_index: int
    """Its place in the request."""


class RefusedObjectView(View):
    """An object that was not taken."""

    object_index: int
    """Its place in the request."""
    error: str
    """Why, in a sentence."""
    error_type: Literal["ValidationError"]
    """The kind of error."""


class ObjectsView(Answer):
    """What became of each object of a batch request."""

    succeeded: list[NumberedObjectView]
    """The objects that were made."""
    failed: list[RefusedObjectView]
    """The objects that were refused."""
    total_requested: int
    """Objects in the request."""
    succeeded_count: int
    """How many were made."""
    failed_count: int
    """How many were refused."""


class BucketList(TotalCountListView[BucketView]):
    """A page of buckets."""


class ObjectList(ListView[ObjectView]):
    """A page of objects."""


def show_schema(properties: Mapping[str, Mapping[str, Any]]) -> SchemaView:
    """A schema as it is answered."""
    return SchemaView.model_validate({"properties": dict(properties)})


def show_bucket(bucket: Bucket) -> BucketView:
    """A bucket as it is answered."""
    return BucketView(
        bucket_id=bucket.bucket_id,
        bucket_name=bucket.bucket_name,
        description=bucket.description,
        bucket_schema=show_schema(bucket.properties),
        metadata=dict(bucket.metadata),
        object_count=bucket.object_count,
        total_size_bytes=bucket.total_size_bytes,
        status="ACTIVE",
        created_at=bucket.created_at,
        updated_at=bucket.updated_at,
    )


def show_object(stored: StoredObject) -> ObjectView:
    """An object as it is answered."""
    return ObjectView.model_validate(_object_fields(stored))


def show_created_object(stored: StoredObject) -> CreatedObjectView:
    """A new object as it is answered."""
    fields = {name: value for name, value in _object_fields(stored).items() if name != "warnings"}
    return CreatedObjectView.model_validate(fields)


def show_numbered_object(stored: StoredObject, index: int) -> NumberedObjectView:
    """An object as a batch request answers it."""
    return NumberedObjectView.model_validate({**_object_fields(stored), "object_index": index})


def _object_fields(stored: StoredObject) -> dict[str, Any]:
    return {
        **stored.data,
        "object_id": stored.object_id,
        "bucket_id": stored.bucket_id,
        "key_prefix": stored.key_prefix,
        "blobs": [_show_blob(stored, number, blob) for number, blob in enumerate(stored.blobs)],
        "status": "ACTIVE",
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
    }


def _show_blob(stored: StoredObject, number: int, blob: StoredBlob) -> BlobView:
    return BlobView(
        blob_id=f"{stored.object_id}.{number}",
        property=blob.property,
        type=blob.type,
        content_type=blob.content_type,
        size_bytes=blob.size_bytes,
        sha256=blob.sha256,
        properties=dict(blob.metadata),
    )
