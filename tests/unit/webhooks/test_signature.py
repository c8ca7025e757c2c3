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
    headers = signature_headers([secret], "evt_1", int(time.time()), BODY)
    assert Webhook(secret).verify(BODY, headers) == {"event_id": "evt_1"}


def test_an_independent_library_refuses_a_changed_body() -> None:
    secret = generate_secret()
    headers = signature_headers([secret], "evt_1", int(time.time()), BODY)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(secret).verify(BODY + b" ", headers)


def test_the_published_vector_of_standard_webhooks() -> None:
    body = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signature_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_of_several_secrets_verifies_and_the_published_form_has_the_newest() -> None:
    new, old = generate_secret(), generate_secret()
    headers = signature_headers([new, old], "evt_1", int(time.time()), BODY)
    assert Webhook(new).verify(BODY, headers) == Webhook(old).verify(BODY, headers)
    alone = signature_headers([new], "evt_1", int(headers["webhook-timestamp"]), BODY)
    assert headers["X-Mixpeek-Signature"] == alone["X-Mixpeek-Signature"]


def test_the_published_header_keys_with_the_string_as_given() -> None:
    headers = signature_headers(["a plain secret"], "evt_1", 1_700_000_000, BODY)
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
        ("whsec_ä", False),
    ],
)
def test_a_secret_must_be_decodable_and_long_enough(secret: str, usable: bool) -> None:
    assert is_usable_secret(secret) is usable
