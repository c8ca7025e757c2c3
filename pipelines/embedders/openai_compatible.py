"""Embeddings from any endpoint that speaks OpenAI's `/embeddings`. The key is sent and never shown."""

from collections.abc import Sequence

import httpx
import numpy as np
from pydantic import BaseModel, SecretStr, ValidationError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from core.errors import StageError, UnavailableError
from pipelines.embedders.embedder import Vectors, normalised

_TEXTS_PER_REQUEST = 96
_TIMEOUT_SECONDS = 30.0
_TRIES = 3
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


class _Row(BaseModel):
    index: int
    embedding: list[float]


class _Answer(BaseModel):
    data: list[_Row]


class OpenAICompatibleEmbedder:
    """A model behind HTTP."""

    def __init__(self, base_url: str, model: str, api_key: SecretStr | None) -> None:
        """Ask the endpoint once, to learn the dimension. Raises StageError, or UnavailableError when it is away."""
        headers = {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, headers=headers)
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

    def _request(self, texts: list[str]) -> Vectors:
        again = Retrying(
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.4, max=2),
            retry=retry_if_exception(lambda error: isinstance(error, UnavailableError)),
            reraise=True,
        )
        response: httpx.Response = again(self._post, texts)
        try:
            answer = _Answer.model_validate_json(response.content)
            rows = np.array([row.embedding for row in sorted(answer.data, key=lambda row: row.index)], np.float32)
        except (ValidationError, ValueError) as error:
            raise StageError(f"The embedding endpoint gave no readable answer for model {self._model}") from error
        if rows.ndim != 2 or len(rows) != len(texts):
            raise StageError(f"The embedding endpoint answered {len(rows)} vectors for {len(texts)} texts")
        return rows

    def _post(self, texts: list[str]) -> httpx.Response:
        try:
            response = self._client.post(self._url, json={"model": self._model, "input": texts})
        except httpx.HTTPError as error:
            raise UnavailableError(f"The embedding endpoint does not answer: {type(error).__name__}") from None
        if response.status_code in _BUSY:
            raise UnavailableError(f"The embedding endpoint is busy: HTTP {response.status_code}")
        if response.is_error:
            # the body is left out: some endpoints repeat the key in it
            raise StageError(f"The embedding endpoint refused model {self._model}: HTTP {response.status_code}")
        return response
