"""The HTTP client under a provider's own client: one deadline, kept connections, and only the headers that matter.

The clients add headers about this machine and from its environment; here a closed list passes.
"""

import httpx2

from core.egress.transport import outbound_client

_ALLOWED = frozenset(
    {"host", "content-type", "content-length", "transfer-encoding", "accept", "accept-encoding", "connection"}
)


def provider_client(*headers: str) -> httpx2.Client:
    """A client that sends these headers besides what HTTP itself needs."""
    allowed = _ALLOWED | set(headers)

    def strip(request: httpx2.Request) -> None:
        for name in list(request.headers):
            if name not in allowed:
                del request.headers[name]

    # base URLs are the operator's, so no egress policy applies to them
    client = outbound_client(None)
    client.event_hooks = {"request": [strip]}
    return client
