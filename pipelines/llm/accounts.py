"""What a provider's refusal is about besides its status: an account without credit or quota, which no waiting mends,
the key, or what the prompt says. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
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
_BAD_KEY_CODES = frozenset({"api_key_invalid", "invalid_api_key", "authentication_error"})
_BAD_KEY_PHRASES = ("api key not valid", "api key expired", "incorrect api key", "invalid api key")
"""For providers that refuse a key with 400, as Google and xAI do."""
_FLAGGED = frozenset({"flagged_input", "reasons"})
"""Members of a gateway's `metadata` that say that a prompt was moderated, with 403."""
_CODE_NAMES = ("error_code", "reason")
"""Where a detail of Anthropic's and of Google's says it."""
_NO_QUOTA = re.compile(r"\blimit: 0\b(?!\.)")
_OF_A_DAY = "perday"


def has_no_credit(status: int, body: object) -> bool:
    """Whether the account behind the key cannot pay, or has used up what it may use for a day or longer."""
    if status == _PAYMENT_REQUIRED:
        return True
    return any(_says_so(error) for error in _errors(body))


def refuses_the_key(body: object) -> bool:
    """Whether a refusal names the key as its reason, whatever its status."""
    return any(_names(error, _BAD_KEY_CODES, _BAD_KEY_PHRASES) for error in _errors(body))


def refuses_the_prompt(body: object) -> bool:
    """Whether a refusal that may be about the key is about what the prompt says."""
    return any(_FLAGGED & metadata.keys() for error in _errors(body) for metadata in objects(error.get("metadata")))


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
    if _names(error, _CODES, _PHRASES) or _NO_QUOTA.search(text_of(error.get("message")).lower()):
        return True
    details = objects(error.get("details"))
    return any(_is_used_up(violation) for part in details for violation in objects(part.get("violations")))


def _names(error: Mapping[str, Any], codes: AbstractSet[str], phrases: Sequence[str]) -> bool:
    """Whether an error has one of these codes, or one of these phrases in its message."""
    details = objects(error.get("details"))
    said = [error.get("code"), error.get("type"), *(part.get(name) for part in details for name in _CODE_NAMES)]
    words = text_of(error.get("message")).lower()
    return any(text_of(code).lower() in codes for code in said) or any(phrase in words for phrase in phrases)


def _is_used_up(violation: Mapping[str, Any]) -> bool:
    """Whether a quota is none at all, or one of a whole day."""
    return str(violation.get("quotaValue")) == "0" or _OF_A_DAY in text_of(violation.get("quotaId")).lower()
