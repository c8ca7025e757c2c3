"""Which embedder a setting names: one line per kind. Loads nothing until asked."""

from dataclasses import dataclass

from pydantic import SecretStr

from core.errors import StageError
from pipelines.embedders.embedder import Embedder


@dataclass(frozen=True)
class EmbedderSpec:
    """What an embedder is built from; travels to the actors, so the key is of a type that hides itself."""

    name: str
    """`builtin`, `hub:<path or repository>` or `openai:<model>`"""
    openai_base_url: str
    openai_api_key: SecretStr | None
    """None unless the embedder is the one that sends it"""
    seconds: float
    """what an endpoint may take for a request of many texts"""

    @staticmethod
    def for_name(name: str, openai_base_url: str, openai_api_key: SecretStr | None, seconds: float) -> "EmbedderSpec":
        """The embedder of this name, with the key only if it needs that: a stage actor keeps what it is built from."""
        return EmbedderSpec(name, openai_base_url, openai_api_key if name.startswith("openai:") else None, seconds)


def build_embedder(spec: EmbedderSpec) -> Embedder:
    """Load the embedder that `spec` names. Raises StageError when there is none or it cannot be loaded."""
    kind, _, rest = spec.name.partition(":")
    if kind == "builtin" and not rest:
        from pipelines.embedders.minilm import builtin_embedder

        return builtin_embedder()
    if kind == "hub" and rest:
        from pipelines.embedders.hub import hub_embedder

        return hub_embedder(rest)
    if kind == "openai" and rest:
        from pipelines.embedders.openai_compatible import OpenAICompatibleEmbedder

        return OpenAICompatibleEmbedder(spec.openai_base_url, rest, spec.openai_api_key, spec.seconds)
    raise StageError("KEYSTAGE_EMBEDDER must be builtin, hub:<path or repository> or openai:<model>")
