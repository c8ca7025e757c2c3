"""Loaded by schemathesis: what it cannot know about the requests it makes up."""

import json
import os
import re
import uuid
from typing import Any

import schemathesis

_OWN_USERS = re.compile(r"^user\d+(@|%40)example\.com$")
"""Those whose keys the tests use."""
_HIGH = 60_000
"""Requests a minute that the plan of the run's organization has for every class of routes."""
_PAGES = 10
"""Of the largest size, so many can be asked for by their number."""


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Use each valid Idempotency-Key once, as a second request with it is refused; and spare what the run needs."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if case.meta and case.meta.generation.mode.is_positive and isinstance(key, str):
        case.headers["Idempotency-Key"] = f"{key[:200]}{uuid.uuid4().hex}"
    if case.meta and case.meta.generation.mode.is_positive and _has_more_than_64_bits(case.body):
        case.body = _written_as_doubles(case.body)
    if case.meta and case.meta.generation.mode.is_positive and case.query:
        _page_where_there_is_something(case.query)
    user = case.path_parameters.get("user_email") if case.path_parameters else None
    if isinstance(user, str) and _OWN_USERS.search(user):
        # it finds them in lists; without them it would go on without a key
        case.path_parameters["user_email"] = "spare@example.com"
    body: Any = case.body
    if isinstance(body, dict) and isinstance(overrides := body.get("rate_limit_overrides"), dict):
        # what it lowers would refuse all that comes after
        body["rate_limit_overrides"] = {
            name: _HIGH if isinstance(limit, int) and limit > 0 else limit for name, limit in overrides.items()
        }
    if case.method.upper() == "DELETE" and case.path_parameters:
        _delete_what_is_doomed(case)


def _page_where_there_is_something(query: Any) -> None:
    """No schema can say how far a page lies, by two parameters, nor which cursors a list gave."""
    if "page" in query:
        query["page"] = min(int(query["page"]), _PAGES)
    for cursor in ("cursor", "next_cursor", "after"):
        query.pop(cursor, None)


def _has_more_than_64_bits(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_more_than_64_bits, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _written_as_doubles(value: Any) -> Any:
    """What no schema can say of a number: beyond 64 bits it is written with an exponent."""
    if isinstance(value, dict):
        return {name: _written_as_doubles(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_written_as_doubles(part) for part in value]
    if _has_more_than_64_bits(value):
        return float(min(max(value, -(10**300)), 10**300))
    return value


def _delete_what_is_doomed(case: schemathesis.Case[Any]) -> None:
    """Delete another record than those that the other requests name: after one DELETE they would all be 404."""
    name = list(re.findall(r"{(\w+)}", case.operation.path))[-1]
    doomed = json.loads(os.environ["KEYSTAGE_FUZZ_DOOMED"]).get(case.path_parameters[name])
    if doomed is not None:
        case.path_parameters[name] = doomed
        if name == "namespace_id" and case.headers:
            # it names the namespace that stays, and the two must not disagree
            case.headers.pop("X-Namespace", None)
