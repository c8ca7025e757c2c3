"""Canaries: secret values with a mark that no encoding hides, and the forms in which each of them would come back.

A value is never printed: what is found is told by its number and the encoding.
"""

import base64
import json
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

_ALPHANUMERIC = string.ascii_letters + string.digits
MARK = "CNRY" + "".join(secrets.choice(_ALPHANUMERIC) for _ in range(14))
"""In every value of this run and nowhere else. Letters and digits: URL and JSON leave them as they are."""
_SPECIAL = '"\\/+&=%'
"""What URL and JSON escape, and base64 tells apart."""
_SHARED_BITS = {0: 0, 1: 2, 2: 3}
"""Base64 characters at the beginning that depend on 0, 1 or 2 bytes in front, too."""


class Encoding(StrEnum):
    """The forms that are looked for."""

    PLAIN = "plain"
    BASE64 = "base64"
    URL = "URL"
    JSON = "JSON"


@dataclass(frozen=True)
class Canary:
    """One value of one secret."""

    number: int
    value: str

    @property
    def name(self) -> str:
        """What its secret is called."""
        return f"canary_{self.number:02}"


def canary(number: int, ending: str = "") -> Canary:
    """A new value; `ending` is text that some clients cannot send."""
    random = "".join(secrets.choice(_ALPHANUMERIC) for _ in range(20))
    return Canary(number, f"k{_SPECIAL}{MARK}{number:02}{random}{_SPECIAL}e{ending}")


def forms(text: str, encoding: Encoding) -> Iterator[bytes]:
    """How a text looks inside something that was encoded so; base64 at each of the places where it may begin."""
    match encoding:
        case Encoding.PLAIN:
            yield text.encode()
        case Encoding.URL:
            yield quote(text, safe="").encode()
        case Encoding.JSON:
            yield json.dumps(text)[1:-1].encode()
        case Encoding.BASE64:
            for before, shared in _SHARED_BITS.items():
                whole = (before + len(text.encode())) * 8 // 6
                for encode in (base64.b64encode, base64.urlsafe_b64encode):
                    yield encode(bytes(before) + text.encode())[shared:whole]


MARKS = frozenset(form for encoding in Encoding for form in forms(MARK, encoding))
"""One of these is inside every form of every value: what holds none of them holds no canary."""
