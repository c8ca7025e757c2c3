"""The parameters of the stages that reshape documents or ask another service about them. Pure."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator

from core.egress.target import target_of
from core.retrievers.keys_in_clear import has_credential, is_credential
from core.retrievers.parameter_types import (
    Condition,
    OnError,
    OutputField,
    Parameters,
    SecretReference,
    TemplateText,
)
from core.retrievers.response_path import steps_of
from core.retrievers.templates import is_templated
from core.strict_types import Whole
from core.templating.sandbox import TemplateRefusedError
from core.templating.template import template
from core.vault.references import reference_of

MOST_RESPONSE_BYTES = 10 * 1024 * 1024
_FEWEST_A_SECOND = 1 / 60
"""A stage that waits holds a place of an actor, which all tenants share."""
_SECONDS = {"requests_per_second": 1, "requests_per_minute": 60, "requests_per_hour": 3600}
_DOMAIN = re.compile(
    r"(\*\.)?([a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE
)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_FORBIDDEN_HEADERS = re.compile(
    r"host|content-length|transfer-encoding|connection|upgrade|te|trailer|expect|keep-alive|accept-encoding|proxy-.*",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{[{%#]")
_UP_TO_HOST = re.compile(r"[A-Za-z]+://[^/?#]*")
_SECRET_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}", re.ASCII)
_HOW_TO_SEND_ONE = "store it in the vault and name the secret in auth, or as the whole value of a header"


class JsonTransform(Parameters):
    """`json_transform`: replaces each document by the JSON that a template renders."""

    own_templates: ClassVar[frozenset[str]] = frozenset({"template"})

    template: TemplateText = Field(min_length=1)
    fail_on_error: bool = False
    """whether a document that cannot be transformed fails the stage; else it stays as it is"""


class Citation(Parameters):
    """How a context names its sources."""

    style: Literal["numbered", "bracketed", "inline", "footnote", "none"] = "numbered"
    """`[1]`, `[document id]` (`inline` is the same), a raised ¹, or nothing"""


class RagPrepare(Parameters):
    """`rag_prepare`: packs documents into one text of bounded length, with citations."""

    own_templates: ClassVar[frozenset[str]] = frozenset({"document_template"})

    max_tokens: Whole = Field(8000, ge=16, le=1_000_000)
    tokenizer: str = "cl100k_base"
    """accepted for compatibility: tokens are counted by the built-in WordPiece tokenizer, which needs no download"""
    output_mode: Literal["single_context", "formatted_list"] = "single_context"
    document_template: TemplateText | None = None
    truncation_strategy: Literal["priority_truncate", "proportional", "drop_last"] = "priority_truncate"
    citation: Citation = Field(default_factory=Citation)
    context_field: OutputField = "rag_context"


def _is_domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value):
        raise ValueError("a host such as api.example.com, or *.example.com for its subdomains")
    return value.lower()


def _is_secret_name(value: str) -> str:
    if reference_of(value) is None and not _SECRET_NAME.fullmatch(value):
        raise ValueError("store the value in the vault and give the secret's name here")
    return value


def _renders(value: Any) -> Any:
    """Checks every text in a body as a template."""
    if isinstance(value, str):
        try:
            template(value)
        except TemplateRefusedError as error:
            raise ValueError(str(error)) from None
    elif isinstance(value, dict):
        for part in value.values():
            _renders(part)
    elif isinstance(value, list):
        for part in value:
            _renders(part)
    return value


def _are_headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _HEADER.fullmatch(name) or _FORBIDDEN_HEADERS.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is no header that can be set")
        if reference_of(text) is None:
            if is_credential(text, name):
                raise ValueError(f"{name[:40]!r} looks like a credential: {_HOW_TO_SEND_ONE}")
            _renders(text)
    return value


def _has_no_credential(url: str) -> str:
    if has_credential(url):
        # the URL is not repeated
        raise ValueError(f"this looks like it has a credential in it: {_HOW_TO_SEND_ONE}")
    return url


def _can_be_called(url: str) -> str:
    """Checks where a URL leads, unless a template has a say in that. What is behind the host is escaped when sent."""
    found = _TEMPLATE.search(url)
    written = url[: found.start()] if found else url
    host = _UP_TO_HOST.match(written.lstrip())
    if found is None or (host and host.end() < len(written.lstrip())):
        target_of(host.group() if host else written)
    return url


def _is_path(path: str) -> str:
    steps_of(path)
    return path


def _per_second(value: Any) -> Any:
    """`rate_limit` as a number, or as an object that says it; of several limits the strictest."""
    if not isinstance(value, dict):
        return value
    given = {name: part for name, part in value.items() if part is not None}
    if unknown := sorted(given.keys() - _SECONDS.keys() - {"requests", "period"}):
        raise ValueError(f"{unknown[0][:40]!r} is no limit: use {', '.join(_SECONDS)}, or requests with period")
    if given.keys() & {"requests", "period"} not in (set(), {"requests", "period"}):
        raise ValueError("requests and period, in seconds, belong together")
    if placeholder := next(filter(is_templated, given.values()), None):
        # what it stands for is checked when it is filled in
        return placeholder
    limits = [(given[name], seconds) for name, seconds in _SECONDS.items() if name in given]
    limits += [(given["requests"], given["period"])] if "requests" in given else []
    if not all(type(part) in (int, float) and part > 0 for limit in limits for part in limit):
        raise ValueError("a limit is a number above 0")
    return min((calls / seconds for calls, seconds in limits), default=None)


class Auth(Parameters):
    """How `api_call` proves who it is. The secret itself lives in the vault."""

    type: Literal["none", "api_key", "bearer", "basic", "custom_header"] = "none"
    secret_ref: Annotated[str, AfterValidator(_is_secret_name)] | None = None
    value: SecretReference | None = None
    """the same as a whole reference: a bare word here may well be the credential itself"""
    key: Annotated[str, AfterValidator(lambda name: _header_name(name))] = Field(
        "X-API-Key", validation_alias=AliasChoices("key", "header_name", "name")
    )
    location: Literal["header", "query"] = "header"
    username: str | None = Field(None, max_length=200, pattern=r"^[^:\x00-\x1f\x7f]*$")
    """for basic; without it the secret is `user:password`"""

    @property
    def secret(self) -> str | None:
        """What names the secret."""
        return self.secret_ref or self.value

    @model_validator(mode="after")
    def _needs_a_secret(self) -> Self:
        if self.type != "none" and self.secret is None:
            raise ValueError("secret_ref: name the secret of the vault that holds the credential")
        return self


def _header_name(name: str) -> str:
    if not _HEADER.fullmatch(name) or _FORBIDDEN_HEADERS.fullmatch(name):
        raise ValueError("no header or query name that can be set")
    return name


class ApiCall(Parameters):
    """`api_call`: asks another service about each document."""

    own_templates: ClassVar[frozenset[str]] = frozenset({"url", "headers", "body", "when"})
    literals: ClassVar[frozenset[str]] = frozenset({"auth", "allowed_domains"})

    url: Annotated[TemplateText, AfterValidator(_has_no_credential), AfterValidator(_can_be_called)] = Field(
        min_length=1, max_length=8192
    )
    allowed_domains: list[Annotated[str, AfterValidator(_is_domain)]] = Field(min_length=1, max_length=50)
    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"],
        BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
    ] = "GET"
    auth: Auth = Field(default_factory=Auth)
    headers: Annotated[dict[str, str], AfterValidator(_are_headers)] = Field(default_factory=dict, max_length=30)
    body: Annotated[Any, AfterValidator(_renders)] = None
    output_field: OutputField = "api_response"
    timeout: float = Field(10.0, gt=0, le=60)
    """seconds, for one call from its first look-up to its last byte"""
    max_response_size: Whole = Field(MOST_RESPONSE_BYTES, ge=1, le=MOST_RESPONSE_BYTES)
    response_path: Annotated[str, AfterValidator(_is_path)] | None = Field(None, max_length=400)
    """where in the answer the result is: `$.data.items[0].name`, or `data.items.0.name`"""
    rate_limit: Annotated[float | None, BeforeValidator(_per_second)] = Field(None, ge=_FEWEST_A_SECOND, le=1000)
    """calls a second"""
    when: Condition = None
    on_error: OnError = "skip"
