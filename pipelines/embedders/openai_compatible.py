"""Embeddings from any endpoint that speaks OpenAI's `/embeddings`. The key is sent and never shown."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from core.egress.fetch import Answer, Outgoing, fetch
from core.egress.transport import outbound_client
from core.errors import PayloadTooLargeError, StageError, UnavailableError
from core.plain_values import json_text, parsed_or_none
from pipelines.embedders.embedder import Vectors, normalised
from pipelines.llm.accounts import has_no_credit

_TEXTS_PER_REQUEST = 96
_TIMEOUT_SECONDS = 30.0
_TRIES = 3
_MOST_ANSWER_BYTES = 64 * 1024 * 1024
"""Some times the longest vectors that there are, for as many texts as are sent at once."""
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


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

    def __init__(self, base_url: str, model: str, api_key: SecretStr | None) -> None:
        """Ask the endpoint once, to learn the dimension. Raises StageError, or UnavailableError when it is away."""
        self._headers = _headers(api_key)
        # the base URL is the operator's, so no egress policy applies to it
        self._client = outbound_client(None)
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._model = model
        self.name = model
        self.dimension = self._request(["dimension"]).shape[1]

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One L2-normalised row per text. Raises StageError, or UnavailableError when the endpoint stays busy."""
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
            wait=wait_random_exponential(multiplier=0.4, max=2),
            retry=retry_if_exception(lambda error: isinstance(error, UnavailableError)),
            reraise=True,
        )
        answer: Answer = again(self._post, texts)
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
        body = json.dumps({"model": self._model, "input": texts}).encode()
        try:
            request = Outgoing("POST", self._url, self._headers, body)
            answer = fetch(self._client, request, _TIMEOUT_SECONDS, _MOST_ANSWER_BYTES)
        except UnavailableError as error:
            raise UnavailableError(f"The embedding endpoint does not answer: {error.message}") from None
        except PayloadTooLargeError as error:
            raise StageError(f"The embedding endpoint's answer is not read: {error.message}") from None
        # an error's body is told to nobody: some endpoints repeat the key in it
        if answer.status >= 400 and has_no_credit(answer.status, parsed_or_none(json_text(answer.body))):
            raise StageError("The embedding endpoint's account has no credit or quota left: its operator has to act")
        if answer.status in _BUSY:
            raise UnavailableError(f"The embedding endpoint is busy: HTTP {answer.status}")
        if not 200 <= answer.status < 300:
            raise StageError(f"The embedding endpoint refused model {self._model}: HTTP {answer.status}")
        return answer


def _headers(api_key: SecretStr | None) -> Mapping[str, str]:
    key = {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}
    return {"Content-Type": "application/json", **key}
