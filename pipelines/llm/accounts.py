"""When a provider's refusal means that an account has no credit or quota left, which no waiting mends. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.llm.loose import objects, text_of

_PAYMENT_REQUIRED = 402
_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
    | {"billing_error", "credit_balance_too_low", "contract_spend_limit_reached", "enforced_spend_limit_reached"}
    | {"linked_organization_billing_unavailable", "linked_organization_spend_limit_reached"}
    | {"billing_disabled"}
)
"""As OpenAI, Anthropic and Google name it, in lower case."""
_PHRASES = (
    "credit balance is too low",
    "specified api usage limits",
    "used all available credits",
    "credits are depleted",
    "insufficient balance",
)
"""For refusals that have no code for it: Anthropic's of low credit comes as `invalid_request_error`."""
_CODE_NAMES = ("error_code", "reason")
"""Where a detail of Anthropic's and of Google's says it."""
_NO_QUOTA = re.compile(r"\blimit: 0\b(?!\.)")
_OF_A_DAY = "perday"


def has_no_credit(status: int, body: object) -> bool:
    """Whether the account behind the key cannot pay, or has used up what it may use for a day or longer."""
    if status == _PAYMENT_REQUIRED:
        return True
    return any(_says_so(error) for error in _errors(body))


def asked_wait(body: object) -> str | None:
    """The seconds that Google asks to wait for, which stand in the body and in no header."""
    delays = (part.get("retryDelay") for error in _errors(body) for part in objects(error.get("details")))
    return next((delay.removesuffix("s") for delay in delays if isinstance(delay, str)), None)


def _errors(body: object) -> Iterator[Mapping[str, Any]]:
    """The errors of a body: Google sends a list of one, and some send a text in place of an object."""
    for part in objects(body):
        error = part.get("error")
        yield error if isinstance(error, Mapping) else {**part, "message": error}


def _says_so(error: Mapping[str, Any]) -> bool:
    details = objects(error.get("details"))
    codes = [error.get("code"), error.get("type"), *(part.get(name) for part in details for name in _CODE_NAMES)]
    if any(text_of(code).lower() in _CODES for code in codes):
        return True
    words = text_of(error.get("message")).lower()
    if any(phrase in words for phrase in _PHRASES) or _NO_QUOTA.search(words):
        return True
    return any(_is_used_up(violation) for part in details for violation in objects(part.get("violations")))


def _is_used_up(violation: Mapping[str, Any]) -> bool:
    """Whether a quota is none at all, or one of a whole day."""
    return str(violation.get("quotaValue")) == "0" or _OF_A_DAY in text_of(violation.get("quotaId")).lower()
