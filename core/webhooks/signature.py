"""Signs a delivery as Standard Webhooks 1.0 says, and in the published form too. Pure: bytes in, headers out."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence

from core.invisible import JOINERS, QUOTES, TAGS, UNSEEN

_PREFIX = "whsec_"
_ENCODED_BYTES = range(24, 65)
"""Of a key behind `whsec_`, as Standard Webhooks has it."""
_PLAIN_BYTES = range(8, 501)
_FORM = (
    "a signing secret is whsec_ and the base64 of 24 to 64 bytes, or 8 to 500 bytes of other text "
    "without blanks, quotes or invisible characters at its ends"
)
_COPIED = rf"[\s{QUOTES}{JOINERS}{TAGS}{UNSEEN}]"
_AROUND = re.compile(f"^{_COPIED}|{_COPIED}$")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_OF_ANOTHER_KIND = re.compile(r"(?P<version>v\d\w?),|(?P<pair>whsk_|whpk_)|(?P<prefix>whsec_)", re.IGNORECASE)


def generate_secret() -> str:
    """A new signing secret: 32 random bytes in the Standard Webhooks form."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_problem(secret: str) -> str | None:
    """What is wrong with a customer's secret, and what one looks like; None when it can be used. Repeats none of it."""
    found = _fault(secret)
    return f"{found}: {_FORM}" if found else None


def _fault(secret: str) -> str | None:
    if _UNWRITABLE.search(secret):
        return "there are control characters in it"
    if _AROUND.search(secret):
        return "there are blanks, quotes or invisible characters around it"
    if secret.startswith(_PREFIX):
        return _encoded_fault(secret)
    if kind := _OF_ANOTHER_KIND.match(secret):
        if kind["version"]:
            return f"{kind['version']}, belongs to a signature and not to the secret"
        if kind["pair"]:
            return f"{kind['pair']} begins a key of an asymmetric pair, which is not supported"
        return f"{_PREFIX} is written in small letters"
    return None if len(secret.encode()) in _PLAIN_BYTES else f"it has {len(secret.encode())} bytes"


def _encoded_fault(secret: str) -> str | None:
    try:
        key = _key(secret)
    except ValueError:
        key = b""
    # another reader may make other bytes of what is not written the one way
    if f"{_PREFIX}{base64.b64encode(key).decode()}" != secret:
        return f"what follows {_PREFIX} is not padded standard base64"
    return None if len(key) in _ENCODED_BYTES else f"what follows {_PREFIX} stands for {len(key)} bytes"


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
