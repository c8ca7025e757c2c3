"""Quirks of published clients, in this one place."""

from api.call import Call
from api.schemas.api_keys import IssuedKeyView, KeyView

_GENERATED_CLIENT = "OpenAPI-Generator/"
_EXPECT_201 = ("OpenAPI-Generator/1.3.1/", "OpenAPI-Generator/1.3.2/")
_REDACTED = "redacted"


def secret_created_status(call: Call) -> int:
    """200 as for every create; 201 to the old releases, which know no other answer to this one and drop its body.

    Of all creates that they and we have it is the only one: their webhooks go to a path of their own.
    """
    return 201 if _user_agent(call).startswith(_EXPECT_201) else 200


class GeneratedClientKeyView(IssuedKeyView):
    """A key for the generated client, which raises without three fields that nobody may have."""

    internal_id: str = _REDACTED
    key_hash: str = _REDACTED
    user_id: str = _REDACTED


def key_answer(call: Call, key: KeyView) -> KeyView:
    """A key for whoever asks."""
    if not _user_agent(call).startswith(_GENERATED_CLIENT):
        return key
    redacted = dict.fromkeys(("internal_id", "key_hash", "user_id"), _REDACTED)
    return GeneratedClientKeyView(**{"key": None, **key.model_dump(), **redacted})


def lines_type(call: Call) -> str:
    """The media type of JSON lines; the generated client reads no type but JSON and plain text."""
    return "text/plain; charset=utf-8" if _user_agent(call).startswith(_GENERATED_CLIENT) else "application/x-ndjson"


def _user_agent(call: Call) -> str:
    return call.headers.get("User-Agent", "")
