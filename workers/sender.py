"""One webhook attempt over HTTP: one wall-clock deadline, a bounded answer, no redirects, only permitted addresses."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from core.egress.connector import guarded_connector
from core.egress.policy import EgressPolicy
from core.errors import EgressDeniedError
from core.webhooks.delivery import Attempt, AttemptResult

_ANSWER_BYTES_MAX = 16 * 1024
"""What is read of an answer; then the connection is closed."""
_ANSWER_SHOWN = 4 * 1024
_HEADERS_SHOWN = ("content-type", "retry-after", "location", "server", "date")
_USER_AGENT = "Keystage-Webhooks/1"


class Sender:
    """Sends signed bytes. One session for the life of the process."""

    def __init__(self, policy: EgressPolicy, timeout_seconds: float, slots: int, slots_per_host: int) -> None:
        self._timeout_seconds = timeout_seconds
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(policy, slots, slots_per_host),
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=8190,
            max_field_size=8190,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> Attempt:
        """POST `body` once. Never raises for what the endpoint does: that is the attempt's result."""
        started = time.monotonic()
        try:
            attempt = await self._post(url, headers, body, min(timeout_seconds, self._timeout_seconds))
        except EgressDeniedError:
            attempt = Attempt(AttemptResult.BLOCKED, error="egress_denied")
        except TimeoutError:
            attempt = Attempt(AttemptResult.TIMED_OUT, error="timeout")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            denied = _denied(error)
            attempt = (
                Attempt(AttemptResult.BLOCKED, error="egress_denied")
                if denied
                else Attempt(AttemptResult.UNREACHABLE, error=type(error).__name__)
            )
        return _timed(attempt, started)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Attempt:
        async with asyncio.timeout(seconds):
            try:
                return await self._post_once(url, headers, body)
            except aiohttp.ServerDisconnectedError:
                # an idle connection that the endpoint closed; nothing of the request was answered
                return await self._post_once(url, {**headers, "Connection": "close"}, body)

    async def _post_once(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        sent = {"User-Agent": _USER_AGENT, "Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        async with self._session.post(
            url, data=body, headers=sent, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=None)
        ) as response:
            answer = await _read_bounded(response)
            shown = {name: response.headers[name] for name in _HEADERS_SHOWN if name in response.headers}
            return Attempt(
                AttemptResult.DELIVERED if 200 <= response.status < 300 else AttemptResult.REFUSED,
                status_code=response.status,
                error=None if 200 <= response.status < 300 else f"http_{response.status}",
                response_headers=shown,
                response_body=answer[:_ANSWER_SHOWN].decode("utf-8", errors="replace"),
                retry_after=response.headers.get("Retry-After"),
            )


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    answer = b""
    while len(answer) < _ANSWER_BYTES_MAX:
        piece = await response.content.read(_ANSWER_BYTES_MAX - len(answer))
        if not piece:
            return answer
        answer += piece
    response.close()
    return answer


def _denied(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, EgressDeniedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _timed(attempt: Attempt, started: float) -> Attempt:
    fields: dict[str, Any] = {**vars(attempt), "ms": round((time.monotonic() - started) * 1000, 1)}
    return Attempt(**fields)
