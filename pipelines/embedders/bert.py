"""A BERT encoder in plain NumPy: the forward pass over a model's safetensors. It never trains and needs no torch."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.embedders.embedder import Vectors

_ROWS_PER_BLOCK = 32
"""Rows whose activations fit in a core's cache: elementwise steps run block by block."""


@dataclass(frozen=True)
class BertShape:
    """The numbers of a BERT configuration that the forward pass needs."""

    hidden: int
    heads: int
    layers: int
    positions: int
    epsilon: float

    @classmethod
    def read(cls, directory: Path) -> "BertShape":
        """Read `config.json`. Raises ValueError when the model is not a BERT that this code can run."""
        config = json.loads((directory / "config.json").read_text())
        kind = (
            config.get("model_type"),
            config.get("hidden_act"),
            config.get("position_embedding_type", "absolute"),
        )
        if kind != ("bert", "gelu", "absolute"):
            raise ValueError(f"only BERT with gelu and absolute positions can be run here, not {kind}")
        return cls(
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            layers=config["num_hidden_layers"],
            positions=config["max_position_embeddings"],
            epsilon=config["layer_norm_eps"],
        )


@dataclass(frozen=True)
class _Dense:
    """A linear layer, its weight turned so that rows are multiplied from the left."""

    weight: Vectors
    bias: Vectors

    def __call__(self, rows: Vectors) -> Vectors:
        product = rows @ self.weight
        product += self.bias
        return product


@dataclass(frozen=True)
class _Norm:
    """Layer normalisation."""

    weight: Vectors
    bias: Vectors
    epsilon: float

    def __call__(self, rows: Vectors) -> Vectors:
        rows -= rows.mean(axis=-1, keepdims=True)
        variance = np.einsum("...i,...i->...", rows, rows)[..., None] / rows.shape[-1]
        rows *= 1 / np.sqrt(variance + np.float32(self.epsilon))
        rows *= self.weight
        rows += self.bias
        return rows


@dataclass(frozen=True)
class _Layer:
    """One transformer layer; query, key and value are one matrix."""

    attention_in: _Dense
    attention_out: _Dense
    attention_norm: _Norm
    feed_in: _Dense
    feed_out: _Dense
    feed_norm: _Norm


class BertEncoder:
    """Token ids in, one vector per token out."""

    def __init__(self, directory: Path) -> None:
        """Load the weights. Raises ValueError for another architecture, OSError when files are missing."""
        # here, because reading weights is the only use of safetensors
        from safetensors.numpy import load_file

        self.shape = BertShape.read(directory)
        tensors = load_file(directory / "model.safetensors")
        weights = {name.removeprefix("bert."): tensor.astype(np.float32) for name, tensor in tensors.items()}
        embeddings = "embeddings."
        self._words = weights[embeddings + "word_embeddings.weight"]
        # there is one sentence per input, so the first token type is part of every position
        self._positions = (
            weights[embeddings + "position_embeddings.weight"] + weights[embeddings + "token_type_embeddings.weight"][0]
        )
        self._norm = self._norm_named(weights, embeddings + "LayerNorm")
        self._layers = [self._layer(weights, f"encoder.layer.{index}.") for index in range(self.shape.layers)]

    def encode(self, tokens: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]) -> Vectors:
        """Contextual vectors, shape [texts, length, hidden], for `tokens` and `mask` of shape [texts, length]."""
        texts, length = tokens.shape
        rows = self._norm(self._words[tokens] + self._positions[:length])
        rows = rows.reshape(texts * length, self.shape.hidden)
        # added to the scores of padding, so that no text attends to it
        penalty = np.where(mask, np.float32(0), np.float32(-1e9))[:, None, None, :] if not mask.all() else None
        for layer in self._layers:
            mixed = self._attend(layer, rows, penalty, texts, length)
            mixed += rows
            rows = layer.attention_norm(mixed)
            fed = layer.feed_out(_gelu(layer.feed_in(rows)))
            fed += rows
            rows = layer.feed_norm(fed)
        return rows.reshape(texts, length, self.shape.hidden)

    def _attend(self, layer: _Layer, rows: Vectors, penalty: Vectors | None, texts: int, length: int) -> Vectors:
        size = self.shape.hidden // self.shape.heads
        projected = layer.attention_in(rows).reshape(texts, length, 3, self.shape.heads, size)
        query, key, value = projected.transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2)
        if penalty is not None:
            scores += penalty
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(texts * length, self.shape.hidden)
        return layer.attention_out(mixed)

    def _layer(self, weights: dict[str, Vectors], prefix: str) -> _Layer:
        parts = [_dense_named(weights, f"{prefix}attention.self.{name}") for name in ("query", "key", "value")]
        # the scaling of the scores is folded into the query, once, here
        scale = np.float32(1 / np.sqrt(self.shape.hidden // self.shape.heads))
        parts[0] = _Dense(parts[0].weight * scale, parts[0].bias * scale)
        joined = _Dense(
            np.ascontiguousarray(np.concatenate([part.weight for part in parts], axis=1)),
            np.concatenate([part.bias for part in parts]),
        )
        return _Layer(
            attention_in=joined,
            attention_out=_dense_named(weights, prefix + "attention.output.dense"),
            attention_norm=self._norm_named(weights, prefix + "attention.output.LayerNorm"),
            feed_in=_dense_named(weights, prefix + "intermediate.dense"),
            feed_out=_dense_named(weights, prefix + "output.dense"),
            feed_norm=self._norm_named(weights, prefix + "output.LayerNorm"),
        )

    def _norm_named(self, weights: dict[str, Vectors], name: str) -> _Norm:
        return _Norm(weights[name + ".weight"], weights[name + ".bias"], self.shape.epsilon)


def _dense_named(weights: dict[str, Vectors], name: str) -> _Dense:
    return _Dense(np.ascontiguousarray(weights[name + ".weight"].T), weights[name + ".bias"])


def _gelu(rows: Vectors) -> Vectors:
    """x Φ(x), in place: max(x, 0) less |x| times the tail of the normal distribution beyond |x|."""
    for start in range(0, len(rows), _ROWS_PER_BLOCK):
        block = rows[start : start + _ROWS_PER_BLOCK]
        size = np.abs(block)
        np.maximum(block, 0, out=block)
        block -= _normal_tail(size) * size
    return rows


def _normal_tail(size: Vectors) -> Vectors:
    """1 - Φ(size) for size ≥ 0, after Abramowitz and Stegun 7.1.26, to 1e-7: NumPy has no error function."""
    one = np.float32(1)
    t = one / (one + size * np.float32(0.3275911 * math.sqrt(0.5)))
    tail: Vectors = t * np.float32(0.5 * 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail += np.float32(0.5 * coefficient)
        tail *= t
    square = size * size
    square *= np.float32(-0.5)
    np.exp(square, out=square)
    tail *= square
    return tail
