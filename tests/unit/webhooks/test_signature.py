"""The signature, held against the standardwebhooks library and the published form."""

import base64
import hashlib
import hmac
import time

import pytest
from standardwebhooks import Webhook

from core.webhooks.signature import generate_secret, secret_problem, signature_headers

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


KEY = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    "secret",
    [
        f"whsec_{KEY}",
        f"whsec_{base64.b64encode(bytes(64)).decode()}",
        "plain text of mine",
        "12345678",
        "mot de passe é",
        'it has "quotes" inside',
        "v1 is not at its beginning",
        "x" * 500,
    ],
)
def test_a_secret_that_can_be_used(secret: str) -> None:
    assert secret_problem(secret) is None


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (f"v1,whsec_{KEY}", "v1, belongs to a signature"),
        (f"v1,{KEY}", "v1, belongs to a signature"),
        (f"v1a,{KEY}", "v1a, belongs to a signature"),
        (f" whsec_{KEY}", "blanks"),
        (f"whsec_{KEY} ", "blanks"),
        (f"\u00a0whsec_{KEY}", "blanks"),
        (f"\ufeffwhsec_{KEY}", "invisible"),
        (f"whsec_{KEY}\u200b", "invisible"),
        (f"whsec_{KEY}\n", "control characters"),
        (f"\twhsec_{KEY}", "control characters"),
        ("a plain\x00secret", "control characters"),
        ("\ud800" * 9, "control characters"),
        (f'"whsec_{KEY}"', "quotes"),
        (f"'whsec_{KEY}'", "quotes"),
        (f"`whsec_{KEY}`", "quotes"),
        (f"\u201cwhsec_{KEY}\u201d", "quotes"),
        (f"«{KEY}»", "quotes"),
        (f"{KEY}＂", "quotes"),
        (f"{KEY}\u00ad", "invisible"),
        (f"\u2066{KEY}\u2069", "invisible"),
        (f"{KEY}\ufe0f", "invisible"),
        (f"{KEY}\u3164", "invisible"),
        ("        ", "blanks"),
        (f"WHSEC_{KEY}", "small letters"),
        (f"Whsec_{KEY}", "small letters"),
        (f"whsk_{KEY}", "asymmetric"),
        (f"whpk_{KEY}", "asymmetric"),
        ("whsec_not base64!", "not padded standard base64"),
        ("whsec_ä", "not padded standard base64"),
        (f"whsec_{KEY}=", "not padded standard base64"),
        (f"whsec_{base64.b64encode(bytes(25)).decode().rstrip('=')}", "not padded standard base64"),
        (f"whsec_{base64.urlsafe_b64encode(bytes([255]) * 24).decode()}", "not padded standard base64"),
        (f"whsec_whsec_{KEY}", "not padded standard base64"),
        ("whsec_", "stands for 0 bytes"),
        ("whsec_c2hvcnQ=", "stands for 5 bytes"),
        (f"whsec_{base64.b64encode(bytes(65)).decode()}", "stands for 65 bytes"),
        ("short", "it has 5 bytes"),
        ("x" * 501, "it has 501 bytes"),
        ("é" * 251, "it has 502 bytes"),
    ],
)
def test_a_secret_that_cannot_be_used_is_told_what_one_looks_like_and_not_repeated(secret: str, why: str) -> None:
    problem = secret_problem(secret)
    assert problem is not None
    assert why in problem
    assert "a signing secret is whsec_ and the base64 of 24 to 64 bytes" in problem
    assert KEY not in problem
