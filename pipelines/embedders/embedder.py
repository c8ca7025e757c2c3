"""What every embedder offers. Types only: no model is loaded here."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.float32]
"""Vectors as rows, float32."""


class Embedder(Protocol):
    """Maps texts to points on the unit sphere, where near means alike."""

    @property
    def name(self) -> str:
        """Which model this is, for logs and self-tests."""

    @property
    def dimension(self) -> int:
        """Numbers in each vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One L2-normalised row per text, in order: shape [len(texts), dimension]. Raises StageError."""

    def characters_read(self, texts: Sequence[str]) -> list[int]:
        """How many characters of each text its vector speaks of: all of them, unless the model's window ends before."""

    def knows(self, text: str) -> bool:
        """Whether the model knows any part of the text. If it knows none, the vector says nothing."""


def normalised(vectors: Vectors) -> Vectors:
    """The rows scaled to length 1; a row of zeros stays as it is."""
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return vectors / lengths
