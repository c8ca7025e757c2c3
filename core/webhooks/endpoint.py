"""An endpoint: where a customer listens, and to what. Validates what a customer may set; holds no open secret."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from core.egress.target import target_of
from core.errors import FieldProblem, ValidationFailedError
from core.vault.cipher import SecretRecord
from core.webhooks.event import SENT, Event, EventType
from core.webhooks.signature import secret_problem

REDACTED: Final = "redacted"
"""What reads show instead of a secret, and what leaves it as it is when it is sent back."""
_CONFIGS = ("channels", 0, "configs")
_URL = (*_CONFIGS, "url")
_SECRET = (*_CONFIGS, "signing_secret")
_HEADERS = (*_CONFIGS, "headers")
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
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """`redacted` for a value that stays as it is"""
    timeout_seconds: float = 10.0
    is_active: bool = True

    def problems(self, kept_headers: Iterable[str] = ()) -> list[FieldProblem]:
        """Everything that is wrong with these settings. `kept_headers` are names of values that are stored."""
        return [
            *_url_problems(self.url),
            *_header_problems(self.headers, {name.lower() for name in kept_headers}),
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


def require_valid(settings: EndpointSettings, secret: str | None, kept_headers: Iterable[str] = ()) -> None:
    """Raises ValidationFailedError, naming each bad field."""
    problems = settings.problems(kept_headers)
    if secret == REDACTED:
        problems.append(FieldProblem(_SECRET, f"{REDACTED!r} stands for a secret and is none"))
    elif secret and (problem := secret_problem(secret)):
        problems.append(FieldProblem(_SECRET, problem))
    if problems:
        raise ValidationFailedError(problems)


def require_kept_at_home(stored_url: str, settings: EndpointSettings) -> None:
    """Raises ValidationFailedError where a stored header value would go to another host than it was given for: whoever
    may change a webhook may not see what it sends."""
    kept = [name for name, value in settings.headers.items() if value == REDACTED]
    if kept and not _same_origin(stored_url, settings.url):
        why = f"the URL leads to another host, scheme or port: give the value instead of {REDACTED!r}"
        raise ValidationFailedError([FieldProblem((*_HEADERS, name), why) for name in kept])


def _same_origin(one: str, other: str) -> bool:
    try:
        return target_of(one).origin == target_of(other).origin
    except ValueError:
        # stored by an earlier version: nobody knows where it leads
        return False


def listens_to(endpoint: Mapping[str, Any], event: Event) -> bool:
    """Whether a stored endpoint wants this event."""
    return why_not_told(endpoint, event) is None


def why_not_told(endpoint: Mapping[str, Any] | None, event: Event) -> str | None:
    """Why this event is not sent to a stored endpoint, as a word that a delivery may keep; None when it is."""
    if endpoint is None:
        return "endpoint_gone"
    if not endpoint["is_active"]:
        return "endpoint_inactive"
    if event.event_type.value not in endpoint["event_types"]:
        return "not_subscribed"
    if endpoint["resource_types"] and event.about.isdisjoint(endpoint["resource_types"]):
        return "resource_type_not_wanted"
    return None


def never_told(settings: EndpointSettings) -> list[str]:
    """What of a subscription nothing answers in this version, said to whoever sets it."""
    warnings = []
    if unsent := sorted(name for name in settings.event_types if name not in SENT):
        warnings.append(f"Accepted, but nothing sends these events yet: {', '.join(unsent)}.")
    known = frozenset[str]().union(*SENT.values())
    if unknown := sorted(set(settings.resource_types) - known):
        shown = ", ".join(repr(name) for name in unknown)
        warnings.append(f"No event is about {shown} yet: resource_types are {', '.join(sorted(known))}.")
    wanted = set(settings.resource_types) or known
    if not any(SENT[name] & wanted for name in settings.event_types if name in SENT):
        warnings.append("This webhook is told nothing as long as that is so.")
    return warnings


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
    return [FieldProblem((*_CONFIGS, "timeout"), f"give seconds above 0, and at most {_TIMEOUT_MAX_SECONDS:g}")]


def _header_problems(headers: Mapping[str, str], kept: Collection[str]) -> list[FieldProblem]:
    problems = [] if len(headers) <= _HEADERS_MAX else [FieldProblem(_HEADERS, f"give at most {_HEADERS_MAX} headers")]
    seen: set[str] = set()
    for name, value in headers.items():
        if why := _header_fault(name, value, seen, kept):
            problems.append(FieldProblem((*_HEADERS, name), why))
        seen.add(name.lower())
    return problems


def _header_fault(name: str, value: str, seen: Collection[str], kept: Collection[str]) -> str | None:
    if not _HEADER_NAME.fullmatch(name) or _OUR_HEADERS.fullmatch(name):
        return "this header cannot be set; choose another name"
    if name.lower() in seen:
        return "this header is given twice: capitals make no difference"
    if value == REDACTED and name.lower() not in kept:
        return f"{REDACTED!r} stands for a stored value, and there is none of this name; give the value"
    if len(value) > _HEADER_VALUE_MAX or _UNSENDABLE.search(value):
        return f"give one line of at most {_HEADER_VALUE_MAX} characters"
    return None
