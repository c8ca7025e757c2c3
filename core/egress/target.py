"""Reads a URL that somebody wanted called: one reader for what is saved and for what is sent. Pure; resolves no name.

What two readers could understand differently is refused: numbers in other than four decimal parts, user names,
backslashes, blanks. A name in other letters than ASCII is read as its ASCII form.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

import idna

from config.redaction import MASK, redacted
from core.egress.policy import Address, EgressPolicy
from core.invisible import CONTROL, JOINERS, TAGS, UNSEEN

SETTING = "KEYSTAGE_EGRESS_ALLOW_CIDRS"
"""What allows addresses that are not public."""
_UNREADABLE = re.compile(rf"[\s\\{CONTROL}{JOINERS}{TAGS}{UNSEEN}\ud800-\udfff]")
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]*))?")
_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_PORT_DIGITS = 5
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label of this form makes the whole host a number to a browser, and to most libraries."""
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_NAME = 253
_TO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")
"""What may not stand in a request as it is. All else stays: to others `%2F` and `/`, or `/a/../b` and `/b`, are two."""
_USER = re.compile(r"(://)[^/]*@")
_PAIR = re.compile(r"[^&;]+")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9._-]{0,12}")
_SECRET_NAME = re.compile(r"key|token|secret|sig|auth|pass|pwd|code|cred|session|jwt|hash|hmac", re.IGNORECASE)
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")

_NOT_A_URL = "give an http or https URL, such as https://example.com/hook"
_NOT_V4 = (
    "write an IPv4 address as four decimal numbers from 0 to 255 without leading zeros, such as 203.0.113.7; "
    f"one that is not public is called only where the operator allows it with {SETTING}"
)
_NOT_A_NAME = "write the host as letters, digits and hyphens between single dots, such as hooks.example.com"


@dataclass(frozen=True)
class Target:
    """Where a URL leads."""

    url: str
    """with its host in ASCII, and all else as it was written, as far as that may be sent"""
    host: str
    port: int
    address: Address | None
    """when the host is one, or a name that always means this machine"""

    @property
    def origin(self) -> str:
        """Whom it calls, and whether the way there is encrypted: scheme, host and port."""
        return "/".join(self.url.split("/", 3)[:3])


def target_of(url: str) -> Target:
    """Read a URL. Raises ValueError, which says what would be right and repeats nothing of it."""
    if _UNREADABLE.search(url):
        raise ValueError("leave blanks, backslashes, control and invisible characters out of the URL")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError(_NOT_A_URL)
    if "@" in parts["authority"]:
        raise ValueError("leave user name and password out of the URL")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise ValueError(_NOT_A_NAME)
    scheme = parts["scheme"].lower()
    port = _port(authority["port"]) or _PORTS[scheme]
    host = _v6(authority["v6"]) if authority["v6"] is not None else _name(authority["name"])
    written_port = f":{port}" if port != _PORTS[scheme] else ""
    return Target(f"{scheme}://{host}{written_port}{_sendable(parts['rest'])}", host, port, _address(host))


def foreseen(target: Target, policy: EgressPolicy) -> str | None:
    """Why calls of this target will be refused, as far as the URL alone tells; None when it tells nothing."""
    if target.address is not None:
        if policy.allows(target.address, target.port):
            return None
        if policy.allows(target.address, _PORTS["https"]):
            return f"only ports 80 and 443 are called, unless the operator allows the address with {SETTING}"
        return f"{target.host} is not public: it is called only if the operator allows it with {SETTING}"
    if target.port not in _PORTS.values():
        return f"port {target.port} is called only if the operator allows the host's address with {SETTING}"
    return None


def shown_url(url: str) -> str:
    """A URL as it may be shown: without user name and password, and without what a query's values may keep secret.

    A value is shown that is short and plain, under a name that does not speak of a credential.
    """
    before, mark, query = url.partition("?")
    masked = _USER.sub(rf"\1{MASK}@", before) + mark + _PAIR.sub(_shown_pair, query)
    return redacted(masked)


def hidden_in(url: str) -> list[str]:
    """The values of a URL's query that are not shown, as they are written and as they are meant."""
    values = [_split(pair) for pair in _PAIR.findall(url.partition("?")[2])]
    hidden = [value for name, _, value in values if not _may_be_shown(name, value)]
    return list(dict.fromkeys(form for value in hidden for form in (value, unquote(value))))


def _shown_pair(pair: re.Match[str]) -> str:
    name, equals, value = _split(pair.group())
    return pair.group() if _may_be_shown(name, value) else f"{name}{equals}{MASK}"


def _split(pair: str) -> tuple[str, str, str]:
    name, equals, value = pair.partition("=")
    return (name, equals, value) if equals else ("", "", name)


def _may_be_shown(name: str, value: str) -> bool:
    return _PLAIN_VALUE.fullmatch(value) is not None and not _SECRET_NAME.search(unquote(name))


def _sendable(rest: str) -> str:
    path = rest if rest.startswith("/") else f"/{rest}"
    return _TO_ESCAPE.sub(lambda found: quote(found.group(), safe=""), path)


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if len(text) > _PORT_DIGITS or not 0 < int(text) <= _LAST_PORT:
        raise ValueError(f"give a port from 1 to {_LAST_PORT}, or none")
    return int(text)


def _v6(text: str) -> str:
    try:
        # a zone names an interface of one machine
        address = ipaddress.IPv6Address(text) if "%" not in text else None
    except ValueError:
        address = None
    if address is None:
        raise ValueError("write an IPv6 address in brackets and without a zone, such as [2001:db8::1]")
    mapped = address.ipv4_mapped
    # Python 3.13 shows a mapped IPv4 address with dots, the versions before and the URL standard do not
    return f"[::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}]" if mapped else f"[{address.compressed}]"


def _name(text: str) -> str:
    if not text:
        raise ValueError(_NOT_A_URL)
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError("write the host's name in its ASCII form, such as xn--mnchen-3ya.example") from None
    if name.endswith("."):
        raise ValueError("leave the dot at the end of the host out")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _v4(text)
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(_NOT_A_NAME)
    return name


def _v4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(_NOT_V4) from None


def _address(host: str) -> Address | None:
    if host == "localhost" or host.endswith(".localhost"):
        return _LOOPBACK
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
