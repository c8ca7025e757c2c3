"""Says what is wrong with a text that was sent in place of an API key: from the text alone, and never repeating it.

It looks into no store, so nothing that it says tells whether a key exists.
"""

import re
from collections.abc import Iterable
from typing import Final

from core.invisible import JOINERS, QUOTES, TAGS, UNSEEN

_SEND: Final = "send `Authorization: Bearer <api_key>`"
_OTHER_HEADERS: Final = ("X-API-Key", "Api-Key", "ApiKey", "X-Auth-Token", "X-Access-Token", "X-Authorization", "Token")
"""Where other services read a key."""
_SCHEMES: Final = frozenset(
    {"basic", "token", "digest", "apikey", "api-key", "key", "jwt", "oauth", "negotiate", "bot"}
)
_UNSET: Final = re.compile(r"null|none|undefined|nil|\$.*|%.*%|\{.*\}|<.*>|your[_-].*|\.+|…|.*…", re.IGNORECASE)
"""What stands there when a variable was not set, or an example was sent as it is printed."""
_PROVIDERS: Final = re.compile(r"sk-|AIza|gsk_|xai-|hf_|sk_")
_ROUND: Final = re.compile(rf"[{QUOTES}<>()\[\]].*|.*[{QUOTES}<>()\[\]]", re.DOTALL)
_OF_ONE_WORD: Final = re.compile(r"\s")
_UNSEEN: Final = re.compile(f"[{JOINERS}{TAGS}{UNSEEN}]")


def missing_key(authorization: str, headers: Iterable[str]) -> str | None:
    """What is wrong with a request that has no `Bearer` scheme; None when it has. `headers` are the names of all."""
    if not authorization.strip():
        sent = {name.lower() for name in headers}
        other = next((name for name in _OTHER_HEADERS if name.lower() in sent), None)
        said = f"The header `{other}` is not read" if other else "A valid API key is required"
        return f"{said}: {_SEND}."
    scheme = authorization.split(maxsplit=1)[0]
    if scheme.lower() == "bearer":
        return None
    if scheme.lower().rstrip(":") in _SCHEMES:
        return f"The scheme of `Authorization` must be `Bearer`: {_SEND}."
    if scheme.lower().startswith("bearer"):
        return f"Between `Bearer` and the API key stands one blank and nothing else: {_SEND}."
    return f"`Bearer` is missing before the API key: {_SEND}."


def what_is_wrong(text: str) -> str:
    """What keeps a text from being an API key. It has been seen that it is none."""
    text = _as_written(text)
    if not text:
        return f"No API key stands behind `Bearer`: {_SEND}."
    if re.search(r",\s*bearer\b", text, re.IGNORECASE):
        return f"There are two `Authorization` headers: {_SEND} once."
    if re.match(r"bearer\b", text, re.IGNORECASE):
        return f"`Bearer` stands twice: {_SEND}."
    if _UNSET.fullmatch(text):
        return f"A placeholder stands where the API key belongs: is the variable set? Then {_SEND}."
    if _ROUND.fullmatch(text):
        return "Quotes or brackets stand round the API key: send it without them."
    if _OF_ONE_WORD.search(text):
        return "A blank or a line break stands in the API key: send it in one piece."
    if _UNSEEN.search(text):
        return "A character that nobody sees stands in the API key or beside it: type its ends yourself."
    return _another_kind(text)


def _as_written(text: str) -> str:
    """What was meant by bytes that a header's reader took for Latin letters."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _another_kind(text: str) -> str:
    if text.startswith("ks_"):
        return (
            "This API key is damaged: a character is wrong, missing or too many, because its checksum does not fit. "
            "Copy it again as a whole."
        )
    if text.startswith("whsec_"):
        return "This is the signing secret of a webhook and no API key: those begin with `ks_live_` or `ks_test_`."
    if _PROVIDERS.match(text):
        return "This is a key of another service and no API key of ours: those begin with `ks_live_` or `ks_test_`."
    return "This is no API key: those begin with `ks_live_` or `ks_test_`."
