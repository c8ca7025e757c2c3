"""Makes a BERT for tests: the architecture of the real models, small enough to be written in a moment."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors


def make_tiny_model(directory: Path) -> Path:
    """A two-layer BERT of 16 dimensions with a vocabulary of letters and a few words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "keys", "the", "rotate", "vault", "tenant", "##s"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    hidden, inner, layers, positions = 16, 32, 2, 24
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": hidden,
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "max_position_embeddings": positions,
        "layer_norm_eps": 1e-12,
    }
    (directory / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(7)
    shapes = {
        "embeddings.word_embeddings.weight": (len(words), hidden),
        "embeddings.position_embeddings.weight": (positions, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        "embeddings.LayerNorm": (hidden,),
    }
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        shapes |= {prefix + f"attention.self.{name}": (hidden, hidden) for name in ("query", "key", "value")}
        shapes |= {
            prefix + "attention.output.dense": (hidden, hidden),
            prefix + "attention.output.LayerNorm": (hidden,),
            prefix + "intermediate.dense": (inner, hidden),
            prefix + "output.dense": (hidden, inner),
            prefix + "output.LayerNorm": (hidden,),
        }
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in shapes.items():
        if name.endswith(".weight"):
            tensors[name] = random.standard_normal(shape, dtype=np.float32)
        else:
            tensors[name + ".weight"] = random.standard_normal(shape, dtype=np.float32)
            tensors[name + ".bias"] = random.standard_normal(shape[:1], dtype=np.float32)
    save_file(tensors, directory / "model.safetensors")
    return directory
