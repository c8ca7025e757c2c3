"""Honours `Idempotency-Key`: the first request runs, its repetitions get the same answer. Storage is in core."""

import re
from dataclasses import replace

from api.call import Call, Reply
from api.errors import error_reply
from api.perform import perform
from api.route import Route
from api.wire import content_of
from core.backends.backend import Backend
from core.errors import ConflictError, FieldProblem, InvalidRequestError, ValidationFailedError
from core.idempotency.record import Claimed, InProgress, Mismatch, Replay, SavedResponse, UsedKey, request_digest
from core.ids import SeededIds
from core.storage.failures import is_absence_of

HEADER = "Idempotency-Key"
SHAPE = r"[\x21-\x7e]{1,255}"
"""What a key may be."""
_SHAPE = re.compile(SHAPE)
_NOTHING_HAPPENED = frozenset({401, 403, 422, 429})
"""Answers after which the same key may carry another request."""


def answer_once(route: Route, call: Call, path: str, query: str, body: bytes) -> Reply:
    """The handler's answer, or the one that an earlier request with the same key got.

    Raises InvalidRequestError for a malformed key, ConflictError while another request holds it, ValidationFailedError
    when it was used for another request; and, for a request without a key, what its handler raises.
    """
    key = call.headers.get(HEADER)
    if not route.idempotent or key is None:
        return perform(route, call)
    if not _SHAPE.fullmatch(key):
        raise InvalidRequestError(f"{HEADER} must be 1 to 255 visible ASCII characters.")
    namespace_id = call.namespace.namespace_id if call.namespace else None
    used = UsedKey(key, route.name, path, namespace_id)
    digest = request_digest(query, body, call.known_caller.key.grant.restrictions)
    match call.services.idempotency.claim(call.organization, used, digest):
        case Replay(response):
            return Reply(response.body or None, response.status, {**response.headers, "Idempotent-Replayed": "true"})
        case InProgress():
            raise ConflictError(f"A request with this {HEADER} is being handled.", retry_after_seconds=1)
        case Mismatch():
            raise ValidationFailedError(
                [
                    FieldProblem(
                        (HEADER,), "this key was used for another request, or with other rights", "idempotency_mismatch"
                    )
                ]
            )
        case Claimed(operation_id):
            return _run(route, replace(call, new_id=SeededIds(operation_id)), used)


def _run(route: Route, call: Call, key: UsedKey) -> Reply:
    try:
        reply = perform(route, call)
    except Exception as error:
        reply = error_reply(error, call.request_id)
    try:
        _settle(call, key, reply)
    except Exception as error:
        if reply.status >= 500 or not is_absence_of(Backend.MONGO, error):
            raise
        # what was answered is so: a repetition goes on with the same operation, and comes to the same
    return reply


def _settle(call: Call, key: UsedKey, reply: Reply) -> None:
    """Keep the answer; or free the key where nothing happened; or let the next try go on with the same operation."""
    store = call.services.idempotency
    if reply.status in _NOTHING_HAPPENED:
        store.forget(call.organization, key)
    elif reply.status >= 500 or not store.save(call.organization, key, _saved(reply)):
        store.let_go(call.organization, key)


def _saved(reply: Reply) -> SavedResponse:
    body = reply.replay if reply.replay is not None else reply.body
    return SavedResponse(reply.status, content_of(body), reply.headers)
