"""One webhook attempt over HTTP: one wall-clock deadline, a bounded answer, no redirects, only permitted addresses.

An answer counts as soon as its head has come: its status decides, whatever becomes of its body.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
from yarl import URL

from core.egress.connector import guarded_connector
from core.egress.one_answer import Answer
from core.egress.policy import EgressPolicy
from core.egress.target import shown_url, target_of
from core.errors import EgressDeniedError
from core.webhooks.delivery import Attempt, AttemptResult

_ANSWER_BYTES_MAX = 16 * 1024
"""What is read of an answer; then the connection is closed."""
_LINE_BYTES_MAX = 64 * 1024
_HEADERS_MAX = 1024
"""Of the head of an answer: some send policies of many kilobytes. Over all it is bounded by `OneAnswer`."""
_HEADERS_SHOWN = ("content-type", "retry-after", "location", "server", "date")
_USER_AGENT = "Keystage-Webhooks/1"
_TIMEOUT = "timeout"
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns_failed"),
    (aiohttp.ClientSSLError, "tls_failed"),
    (aiohttp.ClientConnectorError, "connect_failed"),
    (aiohttp.InvalidURL, "invalid_url"),
    (aiohttp.ClientResponseError, "invalid_answer"),
    (aiohttp.ClientPayloadError, "body_invalid"),
    (aiohttp.ServerDisconnectedError, "connection_lost"),
    (TimeoutError, _TIMEOUT),
    (OSError, "connection_lost"),
)
"""What a customer may read of a failure: never an address. The first that fits."""


@dataclass
class _Exchange:
    """What is known of one request while it is under way."""

    reused_connection: bool = False
    answer: Answer | None = None
    """once its head has come"""
    body: bytearray = field(default_factory=bytearray)
    """what was read of it so far"""

    def ended(self, error: Exception | None, seconds: float) -> Attempt:
        """What it came to. An error after the head is only noted."""
        ms = round(seconds * 1000, 1)
        if self.answer is not None:
            return _answered(self.answer, bytes(self.body), error, ms)
        if isinstance(error, EgressDeniedError):
            return Attempt(AttemptResult.BLOCKED, error=error.code, ms=ms)
        if isinstance(error, TimeoutError):
            return Attempt(AttemptResult.TIMED_OUT, error=_TIMEOUT, ms=ms)
        return Attempt(AttemptResult.UNREACHABLE, error=_cause(error), ms=ms)


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
        started, exchange, failure = time.monotonic(), _Exchange(), None
        try:
            target = target_of(url)
        except ValueError:
            # stored by an earlier version: it will never be one, so the schedule is not spent on it
            return Attempt(AttemptResult.BLOCKED, error="invalid_url")
        try:
            async with asyncio.timeout(min(timeout_seconds, self._timeout_seconds)):
                await self._post(exchange, target.url, headers, body)
        except (EgressDeniedError, aiohttp.ClientError, OSError, ValueError) as error:
            failure = error
        return exchange.ended(failure, time.monotonic() - started)

    async def _post(self, exchange: _Exchange, url: str, headers: Mapping[str, str], body: bytes) -> None:
        try:
            await _post_over(self._kept, exchange, url, headers, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # only an idle connection that the endpoint had closed; otherwise the request may have been taken
            if exchange.answer is not None or not exchange.reused_connection:
                raise
            await _post_over(self._fresh, exchange, url, headers, body)


def _session(policy: EgressPolicy, slots: int, *, keep_alive: bool) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=guarded_connector(policy, slots, keep_alive=keep_alive),
        response_class=Answer,
        # the caller's deadline holds over all of it; aiohttp's own would be one more
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        max_line_size=_LINE_BYTES_MAX,
        max_field_size=_LINE_BYTES_MAX,
        max_headers=_HEADERS_MAX,
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
) -> None:
    sent = {"User-Agent": _USER_AGENT, "Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    # as it was written: what aiohttp would make of it may be another URL to whoever signed it
    async with session.post(
        URL(url, encoded=True), data=body, headers=sent, allow_redirects=False, trace_request_ctx=exchange
    ) as response:
        if isinstance(response, Answer):
            exchange.answer = response
        while len(exchange.body) < _ANSWER_BYTES_MAX:
            piece = await response.content.read(_ANSWER_BYTES_MAX - len(exchange.body))
            if not piece:
                return
            exchange.body += piece
        response.close()


def _answered(answer: Answer, body: bytes, error: Exception | None, ms: float) -> Attempt:
    delivered = 200 <= answer.status < 300
    fault = _cause(error) if error else None
    return Attempt(
        AttemptResult.DELIVERED if delivered else AttemptResult.REFUSED,
        status_code=answer.status,
        ms=ms,
        error=None if delivered else f"http_{answer.status}",
        answer_fault=fault or ("bytes_after_answer" if answer.overran else None),
        response_headers={
            name: _shown(name, answer.headers[name]) for name in _HEADERS_SHOWN if name in answer.headers
        },
        response_body=body.decode("utf-8", errors="replace"),
        retry_after=answer.headers.get("Retry-After"),
    )


def _shown(name: str, header: str) -> str:
    """A header's value as text that can be stored: bytes outside UTF-8 arrive as halves of characters."""
    text = header.encode("utf-8", errors="replace").decode()
    return shown_url(text) if name == "location" else text


def _cause(error: Exception | None) -> str:
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "unreachable")
