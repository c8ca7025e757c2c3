"""From a presented key to a caller: checksum, failures so far, the stored key, where it may be used from.

Whoever fails gets one answer, whatever the reason; whoever fails too often is not looked up any more.
"""

from core.errors import (
    KEY_REJECTED,
    KeyRejectedError,
    PermissionDeniedError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnavailableError,
)
from core.limits.auth_failures import AuthFailureLimiter
from core.tenancy.api_key import ApiKey
from core.tenancy.key_store import KeyStore
from core.tenancy.key_use import KeyUse
from core.tenancy.keys import PresentedKey, parse_key
from core.tenancy.wrong_keys import what_is_wrong

_AWAY_RETRY_SECONDS = 5


class Authenticator:
    """Recognises keys. Safe to use from several threads."""

    def __init__(self, keys: KeyStore, failures: AuthFailureLimiter, use: KeyUse) -> None:
        self._keys = keys
        self._failures = failures
        self._use = use

    def authenticate(self, text: str, source: str) -> ApiKey:
        """The usable key with this text, presented from the address `source`.

        Raises UnauthenticatedError, TooManyRequestsError after too many failures, and UnavailableError for a failure
        that nobody can count.
        """
        presented = parse_key(text)
        key_id = presented.key_id if presented else None
        if wait := self._failures.check(source, key_id):
            raise TooManyRequestsError(
                "Too many failed authentications: wait before the next try.", retry_after_seconds=wait, retryable=True
            )
        key = self._keys.recognise(presented) if presented else None
        if key is None or not self._keys.is_usable(key):
            if not self._failures.note(source, key_id):
                raise UnavailableError(retry_after_seconds=_AWAY_RETRY_SECONDS)
            raise self._refusal(text, presented, key)
        self._use.note(key)
        return key

    def _refusal(self, text: str, presented: PresentedKey | None, key: ApiKey | None) -> UnauthenticatedError:
        """What is wrong with the text; for one that could be a key always the same."""
        if presented is None:
            return UnauthenticatedError(what_is_wrong(text))
        return KeyRejectedError(key) if key else UnauthenticatedError(KEY_REJECTED)

    def require_address(self, key: ApiKey, source: str) -> None:
        """Raises PermissionDeniedError when the key may not be used from this address, UnavailableError when nobody can
        count that.
        """
        if key.takes_calls_from(source):
            return
        # as a failure of the address and not a request of the key, whose holder must not pay for who stole it
        if not self._failures.note(source, None):
            raise UnavailableError(retry_after_seconds=_AWAY_RETRY_SECONDS)
        raise PermissionDeniedError("This API key may not be used from this address.", reason="address_not_allowed")


def require_origin(key: ApiKey, origin: str | None) -> None:
    """Raises PermissionDeniedError when the key may not be used by a page of this origin."""
    if not key.takes_origin(origin):
        raise PermissionDeniedError("This API key may not be used by this origin.", reason="origin_not_allowed")
