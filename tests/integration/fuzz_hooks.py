"""Loaded by schemathesis: what it cannot know about the requests it makes up."""

import uuid
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Make each valid Idempotency-Key one of a single request: used for two, the second is refused by rule."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if case.meta and case.meta.generation.mode.is_positive and isinstance(key, str):
        case.headers["Idempotency-Key"] = f"{key[:200]}{uuid.uuid4().hex}"
