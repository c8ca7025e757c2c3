"""One question put to the API again and again, by some callers side by side, and how each asking ended."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.e2e.customer import Customer

_PATIENCE_SECONDS = 120.0
"""Longer than any answer may take: whoever takes longer is no answer."""
NO_ANSWER = 0
"""The status of a question that got none."""


@dataclass(frozen=True)
class Answer:
    """How one asking ended. Moments are on the monotonic clock."""

    asked_at: float
    seconds: float
    status: int
    retry_after: str | None
    said: str
    """what a failure said; empty for a success"""

    @property
    def is_right(self) -> bool:
        """Whether it is one that a caller can work with: done, accepted, or asked to come again."""
        return self.status in (200, 202) or (self.status == 503 and self.retry_after is not None)


class Asking:
    """Asks until it is closed."""

    def __init__(
        self,
        customer: Customer,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        pause: float = 0.2,
        callers: int = 1,
    ) -> None:
        self._ask = (method, path, body)
        self._pause = pause
        headers = {"Authorization": f"Bearer {customer.api_key}", "X-Namespace": customer.namespace_id}
        self._http = httpx.Client(
            base_url=customer.api_url, headers=headers, timeout=_PATIENCE_SECONDS, trust_env=False
        )
        self._done = threading.Event()
        self.answers: list[Answer] = []
        self._callers = [
            threading.Thread(target=self._ask_until_closed, name=f"{method} {path}", daemon=True)
            for _ in range(callers)
        ]

    def __enter__(self) -> Self:
        for caller in self._callers:
            caller.start()
            # not all at once
            time.sleep(self._pause / len(self._callers))
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for caller in self._callers:
            caller.join(_PATIENCE_SECONDS)
        self._http.close()

    def between(self, start: float, end: float) -> list[Answer]:
        """The answers to what was asked then."""
        answers = [answer for answer in list(self.answers) if start <= answer.asked_at < end]
        return sorted(answers, key=lambda answer: answer.asked_at)

    def _ask_until_closed(self) -> None:
        while not self._done.is_set():
            self.answers.append(self._asked())
            self._done.wait(self._pause)

    def _asked(self) -> Answer:
        method, path, body = self._ask
        started = time.monotonic()
        try:
            response = self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            return Answer(started, time.monotonic() - started, NO_ANSWER, None, type(error).__name__)
        said = "" if response.is_success else response.text[:300]
        seconds = time.monotonic() - started
        return Answer(started, seconds, response.status_code, response.headers.get("Retry-After"), said)


def statuses(answers: list[Answer]) -> dict[str, int]:
    """How many answers had which status."""
    counts = Counter(str(answer.status) if answer.status else "none" for answer in answers)
    return dict(sorted(counts.items()))


def slowest(answers: list[Answer]) -> float | None:
    """Seconds of the slowest, None without any."""
    return round(max(answer.seconds for answer in answers), 2) if answers else None
