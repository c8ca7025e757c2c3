"""What the JSON decoder refuses of any body, said in the schemas of bodies: keys, texts and numbers."""

from typing import Any, Final

from api.decode import MAX_DEPTH, MAX_KEY_CHARACTERS
from core.plain_values import INT64

_NO_NUL: Final = "^[^\\u0000]*$"
_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples"})
_KEY: Final = {"$ref": "#/components/schemas/Key"}
_VALUE: Final = {"$ref": "#/components/schemas/Value"}
_TEXT: Final = {"type": "string", "pattern": _NO_NUL}
_INTEGER: Final = {"type": "integer", "minimum": -INT64, "maximum": INT64 - 1}

DEFINITIONS: Final[dict[str, Any]] = {
    "Key": {
        "description": "A key of any object in a body.",
        "type": "string",
        "pattern": "^[^$.\\u0000][^.\\u0000]*$",
        "maxLength": MAX_KEY_CHARACTERS,
    },
    "Value": {
        "description": (
            f"Any value in a body. It is nested {MAX_DEPTH} levels deep at most. A number that is written without a "
            "point and without an exponent has 64 bits."
        ),
        "anyOf": [
            {"type": "null"},
            {"type": "boolean"},
            # to a schema 1e30 is an integer too, and nothing less than a double
            {"type": "number"},
            _TEXT,
            {"type": "array", "items": _VALUE},
            {"type": "object", "propertyNames": _KEY, "additionalProperties": _VALUE},
        ],
    },
}
"""The schemas that `as_decoded` refers to."""


def as_decoded(schema: Any) -> Any:
    """A schema of a body, which takes only what the decoder lets through."""
    if isinstance(schema, list):
        return [as_decoded(one) for one in schema]
    if not isinstance(schema, dict) or "$ref" in schema:
        return schema
    if schema.keys() <= _ANNOTATIONS:
        return {**schema, **_VALUE}
    kind = schema.get("type")
    if kind == "string" and not schema.keys() & {"pattern", "enum", "const", "format"}:
        return {**schema, "pattern": _NO_NUL}
    if kind == "integer":
        return {**_INTEGER, **schema}
    if kind == "array":
        return {**schema, "items": as_decoded(schema.get("items", {}))}
    if kind == "object":
        return _object(schema)
    return {key: as_decoded(value) if key in {"anyOf", "oneOf", "allOf"} else value for key, value in schema.items()}


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    others = schema.get("additionalProperties", True)
    properties = {name: as_decoded(one) for name, one in schema.get("properties", {}).items()}
    return {
        **schema,
        **({"properties": properties} if properties else {}),
        "propertyNames": {**schema.get("propertyNames", {}), **_KEY},
        "additionalProperties": _VALUE if others is True else as_decoded(others),
    }
