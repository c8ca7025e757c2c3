"""One webhook attempt over HTTP: one wall-clock deadline, a bounded answer, no redirects, only permitted addresses."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace

import aiohttp

from core.egress.connector import guarded_connector
from core.egress.policy import EgressPolicy
from core.errors import EgressDeniedError
from core.webhooks.delivery import Attempt, AttemptResult

_ANSWER_BYTES_MAX = 16 * 1024
"""What is read of an answer; then the connection is closed."""
_ANSWER_SHOWN = 4 * 1024
_HEADER_SHOWN = 512
_HEADERS_SHOWN = ("content-type", "retry-after", "location", "server", "date")
_USER_AGENT = "Keystage-Webhooks/1"
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns_failed"),
    (aiohttp.ClientSSLError, "tls_failed"),
    (aiohttp.ClientConnectorError, "connect_failed"),
    (aiohttp.InvalidURL, "invalid_url"),
    (aiohttp.ClientResponseError, "invalid_answer"),
    (aiohttp.ClientPayloadError, "invalid_answer"),
    (aiohttp.ServerDisconnectedError, "connection_lost"),
    (OSError, "connection_lost"),
)
"""What a customer may read of a failure: never an address. The first that fits."""


@dataclass
class _Exchange:
    """What is known of one request while it is under way."""

    reused_connection: bool = False
    answered: bool = False


class Sender:
    """Sends signed bytes, over connections that it keeps for the life of the process."""

    def __init__(self, policy: EgressPolicy, timeout_seconds: float, slots: int) -> None:
        self._timeout_seconds = timeout_seconds
        self._kept = _session(policy, slots, keep_alive=True)
        self._fresh = _session(policy, slots, keep_alive=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._kept.close()
        await self._fresh.close()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> Attempt:
        """POST `body` once. Never raises for what the endpoint does: that is the attempt's result."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(timeout_seconds, self._timeout_seconds)):
                attempt = await self._post(url, headers, body)
        except EgressDeniedError as error:
            attempt = Attempt(AttemptResult.BLOCKED, error=error.code)
        except TimeoutError:
            attempt = Attempt(AttemptResult.TIMED_OUT, error="timeout")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            attempt = Attempt(AttemptResult.UNREACHABLE, error=_cause(error))
        return replace(attempt, ms=round((time.monotonic() - started) * 1000, 1))

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        exchange = _Exchange()
        try:
            return await _post_over(self._kept, exchange, url, headers, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # only an idle connection that the endpoint had closed; otherwise the request may have been taken
            if exchange.answered or not exchange.reused_connection:
                raise
            return await _post_over(self._fresh, _Exchange(), url, headers, body)


def _session(policy: EgressPolicy, slots: int, *, keep_alive: bool) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=guarded_connector(policy, slots, keep_alive=keep_alive),
        # the caller's deadline holds over all of it; aiohttp's own would be one more
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
    )


async def _note_reuse(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _parameters: aiohttp.TraceConnectionReuseconnParams
) -> None:
    context.trace_request_ctx.reused_connection = True


async def _post_over(
    session: aiohttp.ClientSession, exchange: _Exchange, url: str, headers: Mapping[str, str], body: bytes
) -> Attempt:
    sent = {"User-Agent": _USER_AGENT, "Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    async with session.post(
        url, data=body, headers=sent, allow_redirects=False, trace_request_ctx=exchange
    ) as response:
        exchange.answered = True
        answer = await _read_bounded(response)
        delivered = 200 <= response.status < 300
        return Attempt(
            AttemptResult.DELIVERED if delivered else AttemptResult.REFUSED,
            status_code=response.status,
            error=None if delivered else f"http_{response.status}",
            response_headers={
                name: _as_text(response.headers[name])[:_HEADER_SHOWN]
                for name in _HEADERS_SHOWN
                if name in response.headers
            },
            response_body=answer[:_ANSWER_SHOWN].decode("utf-8", errors="replace"),
            retry_after=response.headers.get("Retry-After"),
        )


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    answer = bytearray()
    while len(answer) < _ANSWER_BYTES_MAX:
        piece = await response.content.read(_ANSWER_BYTES_MAX - len(answer))
        if not piece:
            return bytes(answer)
        answer += piece
    response.close()
    return bytes(answer)


def _as_text(header: str) -> str:
    """A header's value as text that can be stored: bytes outside UTF-8 arrive as halves of characters."""
    return header.encode("utf-8", errors="replace").decode()


def _cause(error: Exception) -> str:
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "unreachable")
