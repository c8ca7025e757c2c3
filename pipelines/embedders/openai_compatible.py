"""Embeddings from any endpoint that speaks OpenAI's `/embeddings`. The key is sent and never shown.

The endpoint is the operator's: where it does not answer, refuses its key or has no credit left, it is away, and whoever
needs it waits. What it says of a text, or of the model, is the caller's to hear.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx2
import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from core.backends.absence import CONNECT_SECONDS, absence_in_error, absence_in_status
from core.backends.backend import Backend
from core.egress.fetch import Answer, Outgoing, exchange
from core.egress.retry_after import retry_after
from core.egress.transport import deadline, outbound_client, remaining_seconds
from core.errors import BackendAwayError, PayloadTooLargeError, StageError, UnavailableError
from core.plain_values import json_text, parsed_or_none
from pipelines.embedders.embedder import Vectors, normalised
from pipelines.llm.accounts import has_no_credit, refuses_the_key, refuses_the_prompt

_TEXTS_PER_REQUEST = 96
_FEW_TEXTS = 4
_FEW_OF_MANY = 1 / 3
"""The share of the time for many texts that a few may take: somebody waits for them, with a query say."""
_TRIES = 3
_ANOTHER_SECONDS = 3.0
"""With less than this left no further try is begun: a connection may take two of them."""
_MOST_ANSWER_BYTES = 64 * 1024 * 1024
"""Some times the longest vectors that there are, for as many texts as are sent at once."""
_PASSING = frozenset({408, 429, 500})
"""These may pass, and may as well be about what was asked: no absence."""
_KEY_REFUSED = frozenset({401, 403})
_backoff = wait_random_exponential(multiplier=0.4, max=2)


class _BusyError(UnavailableError):
    """The embedding endpoint is busy."""

    def __init__(self, status: int, wait: str | None) -> None:
        super().__init__(f"The embedding endpoint is busy: HTTP {status}")
        asked = retry_after(wait, datetime.now(UTC))
        self.wait = asked.total_seconds() if asked else 0.0
        """what it asked for, in seconds"""


def _unpacked(embedding: Any) -> Any:
    """Some servers send the base64 of 32-bit floats, for which nobody asked. Raises ValueError."""
    if not isinstance(embedding, str):
        return embedding
    numbers: list[float] = np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").tolist()
    return numbers


class _Row(BaseModel):
    # a number that no double holds would be infinity here, and turn the whole vector into none
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    index: int
    embedding: Annotated[list[float], BeforeValidator(_unpacked)]


class _Answer(BaseModel):
    data: list[_Row]


class OpenAICompatibleEmbedder:
    """A model behind HTTP."""

    def __init__(self, base_url: str, model: str, api_key: SecretStr | None, seconds: float) -> None:
        """A request of many texts may take so many seconds as a whole, its further tries included."""
        self._headers = _headers(api_key)
        # the base URL is the operator's, so no egress policy applies to it
        self._client = outbound_client(None, connect_seconds=CONNECT_SECONDS)
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._model = model
        self._seconds = seconds
        self.name = model
        self._dimension = 0

    @property
    def dimension(self) -> int:
        """Learnt from the endpoint when it is needed first: it may be away when this process starts."""
        if not self._dimension:
            self._dimension = self._request(["dimension"]).shape[1]
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One L2-normalised row per text. Raises StageError, BackendAwayError when the endpoint does not answer or
        refuses its operator, and UnavailableError when it stays busy."""
        rows = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), _TEXTS_PER_REQUEST):
            part = list(texts[start : start + _TEXTS_PER_REQUEST])
            answered = self._request(part)
            if answered.shape[1] != self.dimension:
                raise StageError(f"The embedding endpoint changed its dimension for model {self._model}")
            rows[start : start + len(part)] = answered
        return normalised(rows)

    def characters_read(self, texts: Sequence[str]) -> list[int]:
        """All of each: such an endpoint refuses a text that is too long for its model, and `embed` says so."""
        return [len(text) for text in texts]

    def knows(self, text: str) -> bool:
        """Whether there is anything to know: such models read bytes."""
        return not text.isspace()

    def _request(self, texts: list[str]) -> Vectors:
        again = Retrying(
            stop=stop_after_attempt(_TRIES),
            wait=_wait,
            retry=retry_if_exception(_is_worth_another),
            reraise=True,
        )
        with deadline(self._seconds * (_FEW_OF_MANY if len(texts) <= _FEW_TEXTS else 1)):
            try:
                answer: Answer = again(self._post, texts)
            except _BusyError as error:
                # what crosses processes is of a known class
                raise UnavailableError(error.message) from None
        if not 200 <= answer.status < 300:
            raise self._refused(answer)
        try:
            rows = sorted(_Answer.model_validate_json(json_text(answer.body)).data, key=lambda row: row.index)
            with np.errstate(over="ignore"):
                # what is too large becomes infinity, and is looked for
                vectors = np.array([row.embedding for row in rows], np.float64).astype(np.float32)
        except (ValidationError, ValueError) as error:
            raise StageError(f"The embedding endpoint gave no readable answer for model {self._model}") from error
        if not np.isfinite(vectors).all():
            raise StageError(f"The embedding endpoint gave a number that is too large for model {self._model}")
        if vectors.ndim != 2 or not vectors.shape[1] or [row.index for row in rows] != list(range(len(texts))):
            raise StageError(f"The embedding endpoint did not give one vector for each text for model {self._model}")
        return vectors

    def _post(self, texts: list[str]) -> Answer:
        """The endpoint's answer, a refusal perhaps. Raises what may pass, and StageError for an answer without end."""
        body = json.dumps({"model": self._model, "input": texts}).encode()
        request = Outgoing("POST", self._url, self._headers, body)
        try:
            answer = exchange(self._client, request, self._seconds, _MOST_ANSWER_BYTES)
        except PayloadTooLargeError as error:
            raise StageError(f"The embedding endpoint's answer is not read: {error.message}") from None
        except (httpx2.HTTPError, zlib.error) as error:
            failed = UnavailableError(f"The embedding endpoint gave no readable answer: {type(error).__name__}")
            raise absence_in_error(Backend.EMBEDDER, error) or failed from None
        if away := absence_in_status(Backend.EMBEDDER, answer.status):
            raise away
        if answer.status in _PASSING and not has_no_credit(answer.status, _said(answer)):
            raise _BusyError(answer.status, answer.retry_after)
        return answer

    def _refused(self, answer: Answer) -> StageError | BackendAwayError:
        """What a refusal means. Its body is told to nobody: some endpoints repeat the key in it."""
        said = _said(answer)
        if has_no_credit(answer.status, said):
            return BackendAwayError(Backend.EMBEDDER, "says that its account has no credit or quota left")
        about_the_key = answer.status in _KEY_REFUSED and not refuses_the_prompt(said)
        if about_the_key or refuses_the_key(said):
            return BackendAwayError(Backend.EMBEDDER, f"refuses the key that the operator set (HTTP {answer.status})")
        return StageError(f"The embedding endpoint refused model {self._model}: HTTP {answer.status}")


def _said(answer: Answer) -> Any:
    return parsed_or_none(json_text(answer.body))


def _is_worth_another(error: BaseException) -> bool:
    """Whether it may pass in the time that is left."""
    if not isinstance(error, UnavailableError) or (isinstance(error, BackendAwayError) and error.silent):
        return False
    asked = error.wait if isinstance(error, _BusyError) else 0.0
    return remaining_seconds() - asked > _ANOTHER_SECONDS


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, _BusyError) else 0.0
    return min(asked or _backoff(state), max(remaining_seconds(), 0.0))


def _headers(api_key: SecretStr | None) -> Mapping[str, str]:
    key = {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}
    return {"Content-Type": "application/json", **key}
