"""An endpoint: where a customer listens, and to what. Validates what a customer may set; holds no open secret."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from core.egress.target import target_of
from core.errors import FieldProblem, ValidationFailedError
from core.vault.cipher import SecretRecord
from core.webhooks.event import Event, EventType
from core.webhooks.signature import is_usable_secret

REDACTED: Final = "redacted"
"""What reads show instead of a secret, and what leaves it as it is when it is sent back."""
_CONFIGS = ("channels", 0, "configs")
_URL = (*_CONFIGS, "url")
_HEADERS_MAX = 20
_HEADER_VALUE_MAX = 4096
_URL_MAX = 2048
_HEADER_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""Control characters, which could end a header early, and halves of characters, which have no bytes."""
_TIMEOUT_MAX_SECONDS = 60.0
_OUR_HEADERS = re.compile(
    r"host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|webhook-.*"
    r"|x-mixpeek-signature|user-agent",
    re.IGNORECASE,
)
"""Headers that belong to the sender; a customer's value could break the request or forge a signature."""


@dataclass(frozen=True)
class EndpointSettings:
    """What a customer says about an endpoint."""

    webhook_name: str
    url: str
    event_types: tuple[EventType, ...]
    resource_types: tuple[str, ...] = ()
    """subjects or `resource_type`s it wants; empty means all"""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 10.0
    is_active: bool = True

    def problems(self) -> list[FieldProblem]:
        """Everything that is wrong with these settings."""
        return [
            *_url_problems(self.url),
            *_header_problems(self.headers),
            *_timeout_problems(self.timeout_seconds),
            *([] if self.event_types else [FieldProblem(("event_types",), "name at least one event type")]),
        ]


@dataclass(frozen=True)
class DeliveryHealth:
    """How deliveries to an endpoint went lately."""

    consecutive_failures: int = 0
    first_failure_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_failure_cause: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """A stored endpoint."""

    webhook_id: str
    settings: EndpointSettings
    has_secret: bool
    health: DeliveryHealth
    created_at: datetime
    updated_at: datetime


def secret_record(internal_id: str, webhook_id: str) -> SecretRecord:
    """The record for which an endpoint's signing secret is sealed."""
    return SecretRecord(internal_id, webhook_id, "signing_secret")


def require_valid(settings: EndpointSettings, secret: str | None) -> None:
    """Raises ValidationFailedError, naming each bad field."""
    problems = settings.problems()
    if secret == REDACTED:
        problems.append(FieldProblem(("signing_secret",), f"{REDACTED!r} stands for a secret and is none"))
    elif secret and not is_usable_secret(secret):
        problems.append(
            FieldProblem(("signing_secret",), "give at least 8 bytes; after whsec_ there must be valid base64")
        )
    if problems:
        raise ValidationFailedError(problems)


def listens_to(endpoint: Mapping[str, Any], event: Event) -> bool:
    """Whether a stored endpoint wants this event."""
    wanted_resources = endpoint["resource_types"]
    return (
        bool(endpoint["is_active"])
        and event.event_type.value in endpoint["event_types"]
        and (
            not wanted_resources
            or bool({event.subject.type, event.metadata.get("resource_type")} & set(wanted_resources))
        )
    )


def _url_problems(url: str) -> list[FieldProblem]:
    try:
        target_of(url)
    except ValueError as error:
        return [FieldProblem(_URL, str(error))]
    if len(url) > _URL_MAX:
        return [FieldProblem(_URL, f"give a URL of at most {_URL_MAX} characters")]
    if "#" in url:
        return [FieldProblem(_URL, "leave the fragment, which is never sent, out of the URL")]
    return []


def _timeout_problems(seconds: float) -> list[FieldProblem]:
    # written so that not-a-number is refused too
    if 0 < seconds <= _TIMEOUT_MAX_SECONDS:
        return []
    where = ("channels", 0, "configs", "timeout")
    return [FieldProblem(where, f"give seconds above 0, and at most {_TIMEOUT_MAX_SECONDS:g}")]


def _header_problems(headers: Mapping[str, str]) -> list[FieldProblem]:
    where = ("channels", 0, "configs", "headers")
    problems = [] if len(headers) <= _HEADERS_MAX else [FieldProblem(where, f"give at most {_HEADERS_MAX} headers")]
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or _OUR_HEADERS.fullmatch(name):
            problems.append(FieldProblem((*where, name), "this header cannot be set; choose another name"))
        elif len(value) > _HEADER_VALUE_MAX or _UNSENDABLE.search(value):
            problems.append(FieldProblem((*where, name), f"give one line of at most {_HEADER_VALUE_MAX} characters"))
    return problems
