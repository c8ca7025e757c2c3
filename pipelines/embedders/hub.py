"""Any sentence model of the BERT and MiniLM families: from a local directory, or from a hub repository."""

from pathlib import Path

from core.errors import StageError
from pipelines.embedders.local import LocalEmbedder

_FILES = ["config.json", "sentence_bert_config.json", "tokenizer.json", "model.safetensors"]


def hub_embedder(place: str) -> LocalEmbedder:
    """Load the model of a local path or a hub repository id. Raises StageError when it cannot be had or run."""
    directory = Path(place)
    return LocalEmbedder(directory if directory.is_dir() else _downloaded(place), place)


def _downloaded(repository: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=_FILES))
    except (OSError, ValueError) as error:
        raise StageError(f"The embedding model {repository} cannot be fetched: {type(error).__name__}") from error
