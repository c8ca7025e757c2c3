"""`api_call`: asks another service about each document and writes its answer into a field.

The URL a template renders is checked like a stranger's: its host against the stage's list, its address against the
egress policy. A secret is sent only to a host that it is meant for, and nothing of an answer gets into an error.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx2

from core.egress.fetch import Answer, Outgoing, fetch
from core.egress.transport import outbound_client
from core.errors import EgressDeniedError, PayloadTooLargeError, StageError, UnavailableError
from core.files.decoding import decode
from core.files.kinds import declared_charset
from core.plain_values import parsed, plain, plain_text
from core.retrievers.parameters_apply import ApiCall, Auth
from core.retrievers.response_path import steps_of
from core.templating.template import template
from core.vault.references import reference_of
from core.vault.resolved import ResolvedSecrets, host_matches
from pipelines.per_document import Manner, as_stage_error, per_document
from pipelines.room import MEBIBYTE, Room
from pipelines.stage import Document, StageContext, StageInput, StageOutput
from pipelines.template_values import holds, values_for, with_field

_MOST_BODY = MEBIBYTE
"""Characters that the templates of one body may come to."""
_MOST_VALUES = 1_000_000
"""Values in one answer: each takes up to a hundred times the memory of its one byte."""
_DOT_SEGMENT = re.compile(r"[/\\](\.|%2e){1,2}([/\\]|$)", re.IGNORECASE)
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")


class ApiCallError(StageError):
    """A service that api_call asked did not give a usable answer."""

    code = "api_call_failed"


def api_call(stage: StageInput[ApiCall], context: StageContext) -> StageOutput:
    """The documents in their order, each with the service's answer."""
    parameters = stage.parameters
    pace = _Pace(parameters.rate_limit, context.llm.stopping)
    with outbound_client(context.egress) as client:

        def call(document: Document) -> Document:
            if not holds(parameters.when, stage, context, document):
                return document
            request = _Request(stage, context, document).outgoing()
            pace.wait()
            answer = _answer(client, request, parameters)
            value = _value(answer, parameters.response_path)
            # of a large answer only what stands at the path is kept
            context.room.take(len(json.dumps(value)) if parameters.response_path else len(answer.body))
            return with_field(document, parameters.output_field, value)

        at_once = context.llm.most_concurrent
        manner = Manner(at_once, parameters.on_error, context.check_cancelled, context.llm.stopping)
        return per_document(stage.documents or [], call, manner)


class _Request:
    """The request for one document, while it is put together."""

    def __init__(self, stage: StageInput[ApiCall], context: StageContext, document: Document) -> None:
        self._parameters = stage.parameters
        self._secrets = context.secrets
        self._values = values_for(stage, context, document)
        self._room = Room(_MOST_BODY)

    def outgoing(self) -> Outgoing:
        """The request, secrets and all. Raises StageError, SecretUnusableError."""
        url = self._url()
        host = url.raw_host.decode("ascii").rstrip(".").lower()
        headers = {name: self._header(name, text, host) for name, text in self._parameters.headers.items()}
        auth = self._parameters.auth
        if auth.type != "none":
            value = _credential(auth, self._secrets, host)
            if auth.type == "api_key" and auth.location == "query":
                url = _with_query(url, auth.key, value)
            else:
                name = auth.key if auth.type in ("api_key", "custom_header") else "Authorization"
                headers[name] = _sendable(name, value)
        body = self._body()
        if body is not None and not isinstance(self._parameters.body, str):
            headers.setdefault("Content-Type", "application/json")
        return Outgoing(self._parameters.method, str(url), headers, body)

    def _url(self) -> httpx2.URL:
        try:
            rendered = template(self._parameters.url).render(self._values).strip()
            url = httpx2.URL(rendered)
        except (httpx2.InvalidURL, UnicodeError):
            raise ApiCallError("The URL of api_call cannot be read.") from None
        host = url.raw_host.decode("ascii").rstrip(".").lower()
        if _DOT_SEGMENT.search(rendered.partition("?")[0].partition("#")[0]):
            # a value of the document would choose what is asked, and not only what about
            raise ApiCallError("The URL of api_call has '.' or '..' as a part of its path.")
        if url.scheme not in ("http", "https") or not host or url.userinfo:
            raise ApiCallError("api_call takes http and https URLs without a user name.")
        if not any(host_matches(domain, host) for domain in self._parameters.allowed_domains):
            raise as_stage_error(EgressDeniedError("The URL's host is not one of this stage's allowed_domains."))
        return url

    def _header(self, name: str, text: str, host: str) -> str:
        if reference_of(text) is not None:
            return _sendable(name, self._secrets.meant_by(text).for_host(host))
        return _sendable(name, template(text).render(self._values))

    def _body(self) -> bytes | None:
        body = self._parameters.body
        if body is None:
            return None
        rendered = self._rendered(body)
        return (rendered if isinstance(rendered, str) else json.dumps(rendered)).encode()

    def _rendered(self, value: Any) -> Any:
        if isinstance(value, str):
            rendered = template(value).render(self._values)
            self._room.take(len(rendered))
            return rendered
        if isinstance(value, Mapping):
            return {name: self._rendered(part) for name, part in value.items()}
        return [self._rendered(part) for part in value] if isinstance(value, list) else value


def _credential(auth: Auth, secrets: ResolvedSecrets, host: str) -> str:
    value = secrets.meant_by(auth.secret).for_host(host)
    if auth.type == "bearer":
        return f"Bearer {value}"
    if auth.type == "basic":
        pair = value if auth.username is None else f"{auth.username}:{value}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return value


def _with_query(url: httpx2.URL, name: str, value: str) -> httpx2.URL:
    try:
        return url.copy_merge_params({name: value})
    except httpx2.InvalidURL:
        # it is too long; the client's own error may repeat it
        raise ApiCallError(f"The value of the query parameter {name!r} cannot be sent.") from None


def _sendable(name: str, value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value):
        # the value is not repeated: it may be a secret
        raise ApiCallError(f"The value of the header {name!r} cannot be sent.")
    return value


def _answer(client: httpx2.Client, request: Outgoing, parameters: ApiCall) -> Answer:
    try:
        answer = fetch(client, request, parameters.timeout, parameters.max_response_size)
    except EgressDeniedError as error:
        raise as_stage_error(error) from None
    except (UnavailableError, PayloadTooLargeError) as error:
        raise ApiCallError(error.message) from None
    if not 200 <= answer.status < 300:
        followed = " Redirects are not followed." if 300 <= answer.status < 400 else ""
        raise ApiCallError(f"The service answered HTTP {answer.status}.{followed}")
    return answer


def _value(answer: Answer, path: str | None) -> Any:
    if answer.body.lstrip()[:1] in (b"[", b"{") and max(map(answer.body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ApiCallError(f"The service answered with more than {_MOST_VALUES} values.")
    text = decode(answer.body, declared_charset(answer.content_type)).text
    try:
        value = parsed(text) if text else None
    except ValueError:
        if path or "json" in answer.content_type.lower():
            raise ApiCallError("The service did not answer with JSON.") from None
        return plain_text(text)
    found = _at(value, path)
    try:
        return plain(found)
    except StageError as error:
        raise ApiCallError(f"The service's answer cannot be kept: {error.message}.") from None


def _at(value: Any, path: str | None) -> Any:
    for step in steps_of(path or ""):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and str(step).isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise ApiCallError("The service's answer has nothing at response_path.")
    return value


class _Pace:
    """Keeps the calls of one stage apart."""

    def __init__(self, per_second: float | None, stopping: threading.Event) -> None:
        self._apart = 1 / per_second if per_second else 0.0
        self._stopping = stopping
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Until it is this call's turn."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._apart
        self._stopping.wait(max(0.0, turn - time.monotonic()))
