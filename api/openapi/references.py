"""Where the schema of a model stands in the document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

REF_TEMPLATE: Final = "#/components/schemas/{model}"


@dataclass(frozen=True)
class Schemas:
    """The schemas of the document, by model."""

    places: Mapping[type[BaseModel], Mapping[str, Any]]
    definitions: dict[str, Any]

    def of(self, model: type[BaseModel]) -> dict[str, Any]:
        """A reference to a model's schema."""
        return dict(self.places[model])

    def taken_apart(self, model: type[BaseModel]) -> Mapping[str, Any]:
        """A model's own schema, which the document need not name: its properties stand elsewhere."""
        definition: Mapping[str, Any] = self.definitions[self.of(model)["$ref"].rpartition("/")[2]]
        return definition
