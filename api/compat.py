"""Quirks of published clients, in this one place."""

from collections.abc import Mapping

from pydantic import BaseModel

from api.call import Call

_CLIENTS_THAT_EXPECT_201 = ("OpenAPI-Generator/1.3.1/", "OpenAPI-Generator/1.3.2/")


def created_status(call: Call) -> int:
    """200 for a create; 201 for the old clients, which drop the body of anything else."""
    return 201 if call.headers.get("User-Agent", "").startswith(_CLIENTS_THAT_EXPECT_201) else 200


def created(answer: type[BaseModel]) -> Mapping[int, type[BaseModel]]:
    """The answers of a create, as a route declares them."""
    return {200: answer, 201: answer}
