"""The forms that values of settings have. Each check says what would be right, and shows nothing of what it was given:
an operator may have mixed up two variables, and one of them may be a key.
"""

import base64
import binascii
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

ROOT_KEY_BYTES = 32
_LONGEST_DELAY_SECONDS = 30 * 86_400
"""Longer, and a delivery would be forgotten before it is tried again."""
_LAST_PORT = 65_535


def root_key(text: str) -> tuple[str, bytes] | None:
    """Id and material of `<id>:<32 bytes as urlsafe base64>`, or None when the text has another form."""
    key_id, _, encoded = text.partition(":")
    try:
        material = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (ValueError, binascii.Error):
        return None
    return (key_id, material) if key_id and len(material) == ROOT_KEY_BYTES else None


def require_root_keys(texts: Sequence[str]) -> None:
    """Raise ValueError unless each is a root key, and each has an id of its own."""
    found = [root_key(text) for text in texts]
    if None in found:
        at = _part(found.index(None), texts)
        raise ValueError(f"{at}must read <id>:<{ROOT_KEY_BYTES} bytes as urlsafe base64>")
    if len({key[0] for key in found if key}) != len(found):
        raise ValueError("two keys have the same id")


def require_ranges(texts: Sequence[str]) -> None:
    """Raise ValueError unless each is an address range."""
    for number, text in enumerate(texts):
        try:
            given = ipaddress.ip_interface(text)
        except ValueError:
            at = _part(number, texts)
            raise ValueError(f"{at}must be an address range such as 10.0.0.0/8, 192.0.2.7 or fd00::/8") from None
        if given.ip != given.network.network_address:
            raise ValueError(f"{text} is one address with the mask of a range: the range is {given.network}")


def require_origins(texts: Sequence[str]) -> None:
    """Raise ValueError unless each is a browser origin, or one of the words that stand for several."""
    for number, text in enumerate(texts):
        parts = urlsplit(text)
        if text in ("*", "null") or (parts.scheme and parts.netloc and not (parts.path or parts.query)):
            continue
        at = _part(number, texts)
        raise ValueError(f"{at}must be scheme and host alone, such as https://app.example.com, without a path")


def require_url(url: str, schemes: Sequence[str]) -> None:
    """Raise ValueError unless `url` has one of the schemes, and hosts, separated by commas, with ports that can be."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if scheme == "file":
        return
    for host in hosts_of(url):
        require_host(host, f"{scheme}://host:port/…")


def hosts_of(url: str) -> list[str]:
    """Each `host` or `host:port` of a URL, or of a text that is nothing else. A database's URL may name several."""
    _, separator, rest = url.partition("://")
    authority = (rest if separator else url).partition("/")[0].partition("?")[0]
    return authority.rpartition("@")[2].split(",")


def require_base_url(url: str, added: Sequence[str]) -> None:
    """Raise ValueError when `url` has a query, or ends with one of the paths that a client puts behind it."""
    if "?" in url or "#" in url:
        raise ValueError("is what paths are put behind: it has no query")
    ending = next((path for path in added if url.rstrip("/").endswith(path)), None)
    if ending:
        raise ValueError(f"must end before {ending}, which is put behind it")


def require_address(address: str) -> None:
    """Raise ValueError unless this is `host:port`."""
    require_host(address, "host:port")
    if urlsplit(f"//{address}").port is None:
        raise ValueError("must read host:port")


def require_host(host: str, form: str) -> None:
    """Raise ValueError unless this is a host, with a port that can be if there is one."""
    try:
        parts = urlsplit(f"//{host}")
        well = bool(parts.hostname) and not parts.path and (parts.port is None or parts.port > 0)
    except ValueError:
        well = False
    if not well:
        raise ValueError(f"must read {form}, with a port from 1 to {_LAST_PORT}")


def seconds_between_attempts(text: str) -> tuple[float, ...]:
    """The delays that `text` lists, separated by commas. Raises ValueError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(map(float, parts))
    except ValueError:
        raise ValueError("must be seconds, separated by commas, such as 5,60,300") from None


def require_delays(delays: Sequence[float]) -> None:
    """Raise ValueError unless there are delays, and each can be waited for."""
    if not delays:
        raise ValueError("must name at least one delay in seconds, such as 5,60,300")
    for number, delay in enumerate(delays):
        if not 0 < delay <= _LONGEST_DELAY_SECONDS:
            at = _part(number, delays)
            raise ValueError(f"{at}must be above 0 and at most {_LONGEST_DELAY_SECONDS} seconds")


def _part(number: int, parts: Sequence[object]) -> str:
    return f"part {number + 1} of {len(parts)} " if len(parts) > 1 else ""
