"""The signature, held against the standardwebhooks library and the published form."""

import hashlib
import hmac
import time

import pytest
from standardwebhooks import Webhook

from core.webhooks.signature import generate_secret, is_usable_secret, signature_headers

BODY = b'{"event_id":"evt_1"}'


def test_an_independent_library_accepts_our_signature() -> None:
    secret = generate_secret()
    headers = signature_headers(secret, "evt_1", int(time.time()), BODY)
    assert Webhook(secret).verify(BODY, headers) == {"event_id": "evt_1"}


def test_an_independent_library_refuses_a_changed_body() -> None:
    secret = generate_secret()
    headers = signature_headers(secret, "evt_1", int(time.time()), BODY)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(secret).verify(BODY + b" ", headers)


def test_the_published_header_keys_with_the_string_as_given() -> None:
    headers = signature_headers("a plain secret", "evt_1", 1_700_000_000, BODY)
    expected = hmac.new(b"a plain secret", b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert headers["X-Mixpeek-Signature"] == f"t=1700000000,v1={expected}"


@pytest.mark.parametrize(
    ("secret", "usable"),
    [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", True),
        ("whsec_not base64!", False),
        ("whsec_c2hvcnQ=", False),  # 5 bytes
        ("plain text of mine", True),
        ("short", False),
    ],
)
def test_a_secret_must_be_decodable_and_long_enough(secret: str, usable: bool) -> None:
    assert is_usable_secret(secret) is usable
