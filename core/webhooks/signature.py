"""Signs a delivery as Standard Webhooks 1.0 says, and in the published form too. Pure: bytes in, headers out."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

_PREFIX = "whsec_"
_KEY_BYTES_MIN = 8


def generate_secret() -> str:
    """A new signing secret: 32 random bytes in the Standard Webhooks form."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def is_usable_secret(secret: str) -> bool:
    """Whether a customer's secret can be used: long enough, and valid base64 after `whsec_`."""
    try:
        return len(_key(secret)) >= _KEY_BYTES_MIN
    except ValueError:
        return False


def signature_headers(signing_secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt. `timestamp` in unix seconds; `message_id` is the event id.

    Each secret gives one signature, newest first; the published form has room for the first only.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    published = hmac.new(signing_secrets[0].encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_standard(secret, signed)}" for secret in signing_secrets),
        "X-Mixpeek-Signature": f"t={timestamp},v1={published}",
    }


def _standard(secret: str, signed: bytes) -> str:
    return base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    """`whsec_…` is base64 of the key; any other string is used as its UTF-8 bytes (design decision 10)."""
    if secret.startswith(_PREFIX):
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    return secret.encode()
