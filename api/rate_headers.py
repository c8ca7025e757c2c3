"""What an answer says about the caller's limits: the published headers and those of the IETF draft. Decides nothing."""

import math

from core.clock import now
from core.limits.policy import Policy, Refused, Unavailable, Verdict


def rate_headers(verdict: Verdict) -> dict[str, str]:
    """The headers of an answer to a request with this verdict. Nobody counted an unavailable one: it has no rates."""
    if isinstance(verdict, Unavailable):
        return {"Retry-After": str(verdict.retry_after_seconds)}
    policy, remaining, reset = verdict.policy, verdict.remaining, verdict.reset_seconds
    headers = {
        "X-RateLimit-Limit": str(policy.quota),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(math.ceil(now().timestamp() + reset)),
        "X-RateLimit-Window": str(policy.window_seconds),
        "RateLimit-Policy": f'"{policy.name}";{_quota(policy)}',
        "RateLimit": f'"{policy.name}";r={remaining};t={reset}',
    }
    return {**headers, "Retry-After": str(verdict.retry_after_seconds)} if isinstance(verdict, Refused) else headers


def _quota(policy: Policy) -> str:
    if policy.window_seconds == 0:
        return f'q={policy.quota};qu="concurrent-requests"'
    return f"q={policy.quota};w={policy.window_seconds}"
