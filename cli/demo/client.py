"""A thin client of our own HTTP API, as a customer would write one: a key, a namespace, a retry with one key."""

import time
import uuid
from typing import Any, Self

import httpx

_RETRY_SECONDS = 0.2
_ENDED = {"COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED"}


class RequestFailedError(Exception):
    """The API refused a request."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        super().__init__(f"{response.request.method} {response.request.url.path}: {self.status} {response.text[:500]}")


class Client:
    """Calls the API with one key in one namespace."""

    def __init__(self, api_url: str, api_key: str, namespace: str, patience_seconds: float = 0.0) -> None:
        """`patience_seconds`: how long a POST is repeated, under one Idempotency-Key, while the API is away."""
        self._patience = patience_seconds
        self._http = httpx.Client(
            base_url=api_url,
            headers={"Authorization": f"Bearer {api_key}", "X-Namespace": namespace},
            timeout=60.0,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        """The JSON answer of a GET. Raises RequestFailedError."""
        return self._call("GET", path, None, {})

    def post(self, path: str, body: Any = None, prefer: str | None = None) -> Any:
        """The JSON answer of a POST under a fresh Idempotency-Key. Raises RequestFailedError."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} | ({"Prefer": prefer} if prefer else {})
        return self._call("POST", path, body if body is not None else {}, headers)

    def ended_task(self, task_id: str, seconds: float, on_change: Any = None) -> dict[str, Any]:
        """The task once it has ended. Raises TimeoutError after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            task: dict[str, Any] = self.get(f"/v1/tasks/{task_id}")
            if on_change:
                on_change(task)
            if task["status"] in _ENDED:
                return task
            if time.monotonic() > deadline:
                raise TimeoutError(f"task {task_id} is still {task['status']} after {seconds:.0f} s")
            time.sleep(_RETRY_SECONDS)

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                response = self._http.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            else:
                if response.is_success:
                    return response.json() if response.content else None
                if response.status_code not in {409, 500, 502, 503} or time.monotonic() > deadline:
                    raise RequestFailedError(response)
            time.sleep(_RETRY_SECONDS)
