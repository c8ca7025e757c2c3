"""One bounded request to a host that a customer named: a size cap on the wire, another after decompression.

It follows no redirect, and what fails is told without a word of the answer.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from core.egress.transport import deadline
from core.errors import EgressDeniedError, PayloadTooLargeError, UnavailableError

_GZIP_OR_ZLIB = 47
"""zlib's window bits that accept both headers."""


@dataclass(frozen=True)
class Outgoing:
    """A request to send."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """What came back, decompressed."""

    status: int
    content_type: str
    body: bytes
    retry_after: str | None


def fetch(client: httpx2.Client, request: Outgoing, seconds: float, most_bytes: int) -> Answer:
    """Send the request. Raises EgressDeniedError, PayloadTooLargeError, and UnavailableError when nothing came."""
    try:
        return exchange(client, request, seconds, most_bytes)
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        raise EgressDeniedError("Only http and https URLs may be called.") from None
    except httpx2.TimeoutException:
        raise UnavailableError(f"The host did not answer within {seconds:g} seconds.") from None
    except (httpx2.HTTPError, zlib.error) as error:
        raise UnavailableError(f"The host gave no readable answer: {type(error).__name__}.") from None


def exchange(client: httpx2.Client, request: Outgoing, seconds: float, most_bytes: int) -> Answer:
    """The same, for who has to know how it failed: raises httpx2's and zlib's errors as they are, besides."""
    headers = {**request.headers, "Accept-Encoding": "gzip"}
    with (
        deadline(seconds),
        client.stream(request.method, request.url, headers=headers, content=request.body) as response,
    ):
        body = bounded_body(response, most_bytes)
        return Answer(
            response.status_code,
            response.headers.get("Content-Type", ""),
            body,
            response.headers.get("Retry-After"),
        )


def bounded_body(response: httpx2.Response, most: int) -> bytes:
    """The body of a response that was not read yet, unpacked. Raises PayloadTooLargeError, UnavailableError for a body
    that is packed otherwise or not to its end, and zlib's and httpx2's errors."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise UnavailableError("The host answered in an encoding that was not asked for.")
    declared = response.headers.get("Content-Length", "0")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(most)
    unpacker = None if encoding == "identity" else zlib.decompressobj(_GZIP_OR_ZLIB)
    body, came = bytearray(), False
    for chunk in response.iter_raw():
        came = came or bool(chunk)
        # one byte more than allowed is enough to know, so a small bomb never unfolds
        body += unpacker.decompress(chunk, most - len(body) + 1) if unpacker else chunk
        if len(body) > most or (unpacker and unpacker.unconsumed_tail):
            raise _too_large(most)
    if unpacker and came and (not unpacker.eof or unpacker.unused_data):
        # a part of an answer would pass for the whole
        raise UnavailableError("The host's answer cannot be unpacked to its end.")
    return bytes(body)


def _too_large(most: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The host answered with more than {most} bytes.")
