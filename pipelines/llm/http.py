"""The HTTP client under a provider's own client: one deadline, kept connections, only the headers that matter, and
answers that are bounded, unpacked and readable as text before anybody takes them apart.

The clients add headers about this machine and from its environment; here a closed list passes.
"""

import zlib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from functools import partial

import httpx2

from core.egress.fetch import bounded_body
from core.egress.transport import outbound_client
from core.errors import PayloadTooLargeError, UnavailableError
from core.plain_values import json_text, parsed_or_none
from pipelines.llm.errors import LlmError, LlmFailure, refused, unreachable

_ALLOWED = frozenset({"host", "content-type", "content-length", "transfer-encoding", "accept", "connection"})
_MEBIBYTE = 1024 * 1024
_MOST_ANSWER_MIB = 16
"""Far more than the longest answer that may be asked for, thoughts and all."""
_UNREADABLE = (PayloadTooLargeError, UnavailableError, httpx2.HTTPError, zlib.error)


class ProviderStatusError(Exception):
    """A provider answered with another status than success."""

    def __init__(self, status: int, wait: str | None, body: str) -> None:
        super().__init__(status)
        self.status = status
        self.wait = wait
        """its Retry-After header"""
        self.body = body


def provider_client(*headers: str) -> httpx2.Client:
    """A client that sends these headers besides what HTTP itself needs. Raises ProviderStatusError."""
    # base URLs are the operator's, so no egress policy applies to them
    return outbound_client(None, through=partial(_ProviderTransport, _ALLOWED | set(headers)))


@contextmanager
def asking(provider: str, model: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns what goes wrong while a provider's client asks into an LlmError; `errors` are the client's own."""
    expected: tuple[type[Exception], ...] = (*errors, *_UNREADABLE, ProviderStatusError, ValueError)
    try:
        yield
    except expected as error:
        # the clients wrap what their HTTP client raises
        raise _told(provider, model, error.__cause__ or error) from None


def _told(provider: str, model: str, error: BaseException) -> LlmError:
    match error:
        case ProviderStatusError():
            return refused(provider, model, error.status, error.wait, parsed_or_none(error.body))
        case PayloadTooLargeError():
            return LlmError(LlmFailure.UNREADABLE, f"{provider} answered with more than {_MOST_ANSWER_MIB} MiB.")
        case _:
            return unreachable(provider, error)


class _ProviderTransport(httpx2.BaseTransport):
    """Sends only the headers that it is told to, reads each answer within bounds, and gives it on as UTF-8 whatever it
    says of itself."""

    def __init__(self, headers: AbstractSet[str], inner: httpx2.BaseTransport) -> None:
        self._headers = headers
        self._inner = inner

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises ProviderStatusError, PayloadTooLargeError, UnavailableError."""
        with closing(self._inner.handle_request(self._stripped(request))) as response:
            if not response.is_success:
                wait = response.headers.get("Retry-After")
                raise ProviderStatusError(response.status_code, wait, _body_of_an_error(response))
            text = json_text(bounded_body(response, _MOST_ANSWER_MIB * _MEBIBYTE))
        return httpx2.Response(200, headers={"Content-Type": "application/json; charset=utf-8"}, content=text.encode())

    def _stripped(self, request: httpx2.Request) -> httpx2.Request:
        """A copy: the clients look into theirs again."""
        headers = [(name, value) for name, value in request.headers.items() if name in self._headers]
        # other packings unfold without a bound
        headers = [*headers, ("accept-encoding", "gzip")]
        return httpx2.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )

    def close(self) -> None:
        """Close all connections."""
        self._inner.close()


def _body_of_an_error(response: httpx2.Response) -> str:
    """What an error says besides its status, which counts whatever the body is."""
    try:
        return json_text(bounded_body(response, _MEBIBYTE))
    except _UNREADABLE:
        return ""
