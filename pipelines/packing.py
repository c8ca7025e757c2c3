"""Makes texts fit into a budget of tokens, by one of four strategies. Pure but for the tokenizer."""

from collections.abc import Sequence
from typing import Literal

from pipelines.tokens import count_tokens, first_tokens

Strategy = Literal["whole", "priority", "equal", "proportional"]
"""whole: texts in order while they fit; priority: the same, and the one that does not fit is cut; equal: each text
gets the same share, and what short ones leave goes to the others; proportional: each is cut by the same factor"""


def packed(texts: Sequence[str], room: int, between: int, strategy: Strategy) -> list[str]:
    """Each text as far as it fits, empty when it does not at all; `between` tokens part two of them."""
    sizes = [count_tokens(text) for text in texts]
    if sum(sizes) + between * max(0, len(texts) - 1) <= room:
        return list(texts)
    if strategy in ("whole", "priority"):
        return _in_order(texts, sizes, room, between, cut=strategy == "priority")
    left = max(0, room - between * max(0, len(texts) - 1))
    shares = _equal_shares(sizes, left) if strategy == "equal" else [size * left // sum(sizes) for size in sizes]
    return [first_tokens(text, share) for text, share in zip(texts, shares, strict=True)]


def _in_order(texts: Sequence[str], sizes: Sequence[int], room: int, between: int, cut: bool) -> list[str]:
    kept: list[str] = []
    for text, size in zip(texts, sizes, strict=True):
        room -= between if kept else 0
        if size <= room:
            kept.append(text)
            room -= size
            continue
        if cut:
            kept.append(first_tokens(text, max(0, room)))
        break
    return kept + [""] * (len(texts) - len(kept))


def _equal_shares(sizes: Sequence[int], room: int) -> list[int]:
    shares = [0] * len(sizes)
    waiting = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for done, index in enumerate(waiting):
        shares[index] = min(sizes[index], room // (len(waiting) - done))
        room -= shares[index]
    return shares
