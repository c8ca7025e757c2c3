"""Reads a JSON schema that a customer gives for a model's answer: checked, and made to stand by itself. Pure.

No schema makes us fetch another or run a pattern that it brings. References into the schema's own definitions, as
Pydantic writes them, are replaced by what they name, since not every provider follows them.
"""

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

_LARGEST = 32 * 1024
_DEEPEST = 64
_REFUSED = frozenset({"$dynamicRef", "pattern", "patternProperties"})
_DROPPED = frozenset({"$schema", "$id", "$defs", "definitions"})
_KEYWORDS_OF_NAMES = frozenset({"properties", "dependentSchemas"})
_KEYWORDS_OF_DATA = frozenset({"enum", "const", "default", "examples", "required", "dependentRequired"})
_KEYWORDS_OF_WORDS = frozenset({"title", "description", "default", "examples", "deprecated"})


def standing_alone(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without references. Raises ValueError, which says what is wrong with it."""
    if len(json.dumps(schema)) > _LARGEST:
        raise ValueError(f"a schema has at most {_LARGEST} characters")
    alone = _Inlining(schema).part(schema, 0, ())
    if not isinstance(alone, dict) or alone.get("type") != "object":
        raise ValueError('a JSON schema of "type": "object" is needed')
    try:
        Draft202012Validator.check_schema(alone)
    except SchemaError as error:
        raise ValueError(f"not a JSON schema: {error.message[:200]}") from None
    return alone


class _Inlining:
    """One schema while its references are replaced. What they bring multiplies, so its size is counted on the way."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._definitions = {
            f"#/{keyword}/{name}": definition
            for keyword in ("$defs", "definitions")
            if isinstance(schema.get(keyword), Mapping)
            for name, definition in schema[keyword].items()
        }
        self._room = _LARGEST

    def part(self, schema: Any, depth: int, inside: tuple[str, ...]) -> Any:
        """A part of the schema, `inside` the definitions named on the way to it. Raises ValueError."""
        if depth > _DEEPEST:
            raise ValueError(f"a schema has at most {_DEEPEST} levels")
        if isinstance(schema, list):
            return [self.part(item, depth + 1, inside) for item in schema]
        if not isinstance(schema, Mapping):
            return schema
        made: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in _REFUSED:
                raise ValueError(f"{keyword} cannot be used in a schema here")
            if keyword in _KEYWORDS_OF_NAMES and isinstance(value, Mapping):
                # what stands first in it are a customer's names, which may be those of keywords
                made[keyword] = {name: self.part(inner, depth + 1, inside) for name, inner in value.items()}
            elif keyword in _KEYWORDS_OF_DATA:
                made[keyword] = value
            elif keyword not in _DROPPED and keyword != "$ref":
                made[keyword] = self.part(value, depth + 1, inside)
        return made if "$ref" not in schema else _both(self._named(schema["$ref"], depth, inside), made)

    def _named(self, reference: object, depth: int, inside: tuple[str, ...]) -> Any:
        if not isinstance(reference, str) or reference not in self._definitions:
            raise ValueError("$ref cannot be used in a schema here but for its own #/$defs/name or #/definitions/name")
        if reference in inside:
            raise ValueError("$ref cannot be used in a schema here to name what it stands in")
        definition = self._definitions[reference]
        self._room -= len(json.dumps(definition))
        if self._room < 0:
            raise ValueError(f"a schema has at most {_LARGEST} characters, with what its references name")
        return self.part(definition, depth + 1, (*inside, reference))


def _both(named: Any, beside: dict[str, Any]) -> Any:
    """What a reference names and the keywords beside it: one schema, unless they speak of the same thing."""
    if not isinstance(named, dict):
        # true and false are schemas too
        return {"allOf": [named, beside]} if beside else named
    is_one = named.keys() & beside.keys() <= _KEYWORDS_OF_WORDS
    return {**named, **beside} if is_one else {"allOf": [named, beside]}
