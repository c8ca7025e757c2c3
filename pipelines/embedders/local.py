"""Sentence embeddings by a BERT model in a directory: tokenizer, encoder, mean pooling. Never downloads anything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import StageError
from pipelines.embedders.bert import BertEncoder
from pipelines.embedders.embedder import Vectors, normalised

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TOKENS_PER_BATCH = 1024
"""Tokens, padding included, that go through the model at once: enough to keep it busy, little enough for the cache."""
_DEFAULT_MAX_TOKENS = 256
_UNKNOWN = "[UNK]"
"""What BERT's tokenizers make of a character that is not in their vocabulary."""


class LocalEmbedder:
    """A sentence-transformers model of the MiniLM and BERT families."""

    def __init__(self, directory: Path, name: str) -> None:
        """Load the model in `directory`. Raises StageError when it cannot be run here."""
        try:
            self._encoder = BertEncoder(directory)
            self._tokenizer = _tokenizer(directory, _max_tokens(directory, self._encoder.shape.positions))
        except (OSError, KeyError, ValueError) as error:
            raise StageError(f"The embedding model {name} cannot be loaded: {error}") from error
        self._unknown = self._tokenizer.token_to_id(_UNKNOWN)
        self.name = name

    @property
    def dimension(self) -> int:
        """Numbers in each vector."""
        return self._encoder.shape.hidden

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One L2-normalised row per text; what goes beyond the model's length is cut off."""
        encodings = self._tokenizer.encode_batch(list(texts))
        tokens = [encoding.ids for encoding in encodings]
        result = np.empty((len(tokens), self.dimension), np.float32)
        for batch in _batches([len(ids) for ids in tokens]):
            result[batch] = self._embed_batch([tokens[index] for index in batch])
        return normalised(result)

    def characters_read(self, texts: Sequence[str]) -> list[int]:
        """How many characters of each text its vector speaks of: all, or up to the last word piece that fits."""
        encodings = self._tokenizer.encode_batch(list(texts))
        return [
            max(end for _, end in encoding.offsets) if encoding.overflowing else len(text)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def knows(self, text: str) -> bool:
        """Whether any word piece of the text stands in the model's vocabulary."""
        pieces = self._tokenizer.encode(text, add_special_tokens=False).ids
        return any(piece != self._unknown for piece in pieces)

    def _embed_batch(self, batch: list[list[int]]) -> Vectors:
        length = max(len(ids) for ids in batch)
        tokens = np.zeros((len(batch), length), np.int64)
        mask = np.zeros((len(batch), length), np.bool_)
        for row, ids in enumerate(batch):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = True
        vectors = self._encoder.encode(tokens, mask)
        vectors *= mask[:, :, None]
        mean: Vectors = vectors.sum(axis=1) / mask.sum(axis=1, dtype=np.float32)[:, None]
        return mean


def _batches(lengths: list[int]) -> list[list[int]]:
    """Indexes of texts, grouped by like length so that little is padded."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        # the first of a batch is its longest
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= _TOKENS_PER_BATCH:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _max_tokens(directory: Path, positions: int) -> int:
    stated = directory / "sentence_bert_config.json"
    wanted = json.loads(stated.read_text()).get("max_seq_length") if stated.is_file() else None
    return min(int(wanted or _DEFAULT_MAX_TOKENS), positions)


def _tokenizer(directory: Path, max_tokens: int) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer
