"""Cross-origin requests by configuration: nothing unless an origin is named. No cookie is ever looked at."""

from collections.abc import Sequence

from api.call import Reply
from core.tenancy.api_key import origin_allowed

_ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Prefer, X-Namespace, X-Request-ID"
_EXPOSED_HEADERS = (
    "Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, "
    "X-RateLimit-Remaining, X-RateLimit-Reset, X-RateLimit-Window, X-Request-ID"
)
_PREFLIGHT_SECONDS = 600


class CorsPolicy:
    """Which browser origins may read answers."""

    def __init__(self, allowed_origins: Sequence[str]) -> None:
        self._allowed = tuple(allowed_origins)

    def headers(self, origin: str | None) -> dict[str, str]:
        """What an answer to this origin says. `Vary` always, so that no cache gives one origin's answer to another."""
        if not self._allowed:
            return {}
        if origin is None or not origin_allowed(self._allowed, origin):
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
        }

    def preflight(self, origin: str | None, methods: Sequence[str]) -> Reply:
        """The answer to OPTIONS on a path that takes these methods."""
        allow = {"Allow": ", ".join(sorted(methods))}
        if origin is None or not origin_allowed(self._allowed, origin):
            return Reply(status=204, headers=allow)
        return Reply(
            status=204,
            headers={
                **allow,
                "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
                "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
                "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
            },
        )
