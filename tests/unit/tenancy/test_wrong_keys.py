"""What is said to somebody who sends something else in place of an API key."""

import pytest

from core.tenancy.keys import mint_key, parse_key
from core.tenancy.wrong_keys import missing_key, what_is_wrong

KEY = mint_key().text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (KEY[:-1], "is damaged"),
        (KEY[:30], "is damaged"),
        (KEY + "x", "is damaged"),
        (KEY[:40] + ("a" if KEY[40] != "a" else "b") + KEY[41:], "is damaged"),
        (KEY.upper(), "is no API key"),
        ("ks_live_", "is damaged"),
        (KEY.replace("ks_live", "ks_prod"), "is damaged"),
        (f'"{KEY}"', "Quotes or brackets"),
        (f"'{KEY}", "Quotes or brackets"),
        (f"<{KEY}", "Quotes or brackets"),
        (f"{KEY[:20]} {KEY[20:]}", "blank or a line break"),
        (f"{KEY[:20]}\n{KEY[20:]}", "blank or a line break"),
        (f"\u201c{KEY}\u201d".encode().decode("latin-1"), "Quotes or brackets"),
        (f"«{KEY}»".encode().decode("latin-1"), "Quotes or brackets"),
        (f"«{KEY}»", "Quotes or brackets"),
        (f"\ufeff{KEY}".encode().decode("latin-1"), "character that nobody sees"),
        (f"{KEY}\u200b".encode().decode("latin-1"), "character that nobody sees"),
        (f"{KEY[:20]}\u00ad{KEY[20:]}".encode().decode("latin-1"), "character that nobody sees"),
        (f"{KEY[:20]}\u00a0{KEY[20:]}".encode().decode("latin-1"), "blank or a line break"),
        ("<your key>…".encode().decode("latin-1"), "placeholder"),
        (f"Bearer {KEY}", "stands twice"),
        (f"{KEY},Bearer {KEY}", "two `Authorization` headers"),
        (f"{KEY}, bearer {KEY}", "two `Authorization` headers"),
        ("", "No API key stands behind"),
        ("$KEY", "placeholder"),
        ("${KEY}", "placeholder"),
        ("{{secrets.key}}", "placeholder"),
        ("<api_key>", "placeholder"),
        ("undefined", "placeholder"),
        ("null", "placeholder"),
        ("ks_live_…", "placeholder"),
        ("YOUR_API_KEY", "placeholder"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "signing secret of a webhook"),
        ("sk-proj-0123456789abcdef", "key of another service"),
        ("sk-ant-api03-0123456789", "key of another service"),
        ("AIzaSyA0123456789", "key of another service"),
        ("sk_0123456789", "key of another service"),
        ("hunter22", "is no API key"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.x", "is no API key"),
        ("é" * 40, "is no API key"),
    ],
)
def test_it_is_said_what_is_wrong_and_the_text_is_not_repeated(text: str, said: str) -> None:
    assert parse_key(text) is None
    sentence = what_is_wrong(text)
    assert said in sentence
    assert sentence.endswith(".")
    assert len(text) < 10 or text not in sentence


@pytest.mark.parametrize(
    ("authorization", "headers", "said"),
    [
        ("", [], "A valid API key is required: send `Authorization: Bearer <api_key>`."),
        (" ", [], "A valid API key is required: send `Authorization: Bearer <api_key>`."),
        ("", ["X-Api-Key", "Host"], "The header `X-API-Key` is not read"),
        ("", ["token"], "The header `Token` is not read"),
        (KEY, [], "`Bearer` is missing before the API key"),
        (f"Basic {KEY}", [], "The scheme of `Authorization` must be `Bearer`"),
        (f"Token {KEY}", [], "The scheme of `Authorization` must be `Bearer`"),
        (f"ApiKey: {KEY}", [], "The scheme of `Authorization` must be `Bearer`"),
        (f"Bearer: {KEY}", [], "Between `Bearer` and the API key stands one blank"),
        (f"Bearer{KEY}", [], "Between `Bearer` and the API key stands one blank"),
        (f"Bearer={KEY}", [], "Between `Bearer` and the API key stands one blank"),
    ],
)
def test_a_key_elsewhere_or_under_another_scheme_is_pointed_to(
    authorization: str, headers: list[str], said: str
) -> None:
    sentence = missing_key(authorization, headers)
    assert sentence is not None
    assert said in sentence
    assert KEY not in sentence


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_have_any_case(scheme: str) -> None:
    assert missing_key(f"{scheme} {KEY}", []) is None
    assert missing_key(scheme, []) is None
