"""A GGUF file as a source of weights: llama.cpp's names and layouts turned into Hugging Face's.

Tensors are unpacked to fp32 one at a time, when they are asked for. Files of the llama family hold
the rows of queries and keys with the two halves of each head interleaved; they are put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcache.errors import ConfigError
from pcache.gpu.extra import require
from pcache.gpu.families import shape_from_config

__all__ = ["GgufSource"]

_FIELDS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
}
"""config.json's names, and GGUF's behind the architecture's."""
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


class GgufSource:
    """One GGUF file. Raises ConfigError where it is damaged or not of a supported family."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        gguf = require("gguf", "reading a GGUF file")
        try:
            reader = gguf.GGUFReader(path)
            self._tensors = {tensor.name: tensor for tensor in reader.tensors}
            values = {name: field.contents() for name, field in reader.fields.items()}
        except Exception as error:  # a parser of damaged bytes fails in any way it likes
            raise ConfigError(f"{path}: not a complete GGUF file ({error})") from error
        self._dequantize = gguf.quants.dequantize
        self.shape = shape_from_config(self._config(values), self.name)
        self._interleaved = self.shape.family == "llama"

    def _config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The file's settings under the names of config.json."""
        family = values.get("general.architecture")
        settings = {name: values.get(f"{family}.{key}") for name, key in _FIELDS.items()}
        if "rope_freqs.weight" in self._tensors:
            raise ConfigError(
                f"{self.name}: holds RoPE frequencies as a tensor (Llama 3.1 and later), which is "
                "not supported; use the model's Hugging Face directory"
            )
        if values.get(f"{family}.rope.scaling.type", "none") != "none":
            settings["rope_scaling"] = {
                "type": values[f"{family}.rope.scaling.type"],
                "factor": values.get(f"{family}.rope.scaling.factor"),
            }
        embedding = self._tensors.get("token_embd.weight")
        return settings | {
            "model_type": family,
            "vocab_size": None if embedding is None else int(embedding.shape[-1]),
            "tie_word_embeddings": "output.weight" not in self._tensors,
        }

    def tensor(self, name: str) -> torch.Tensor:
        there = _gguf_name(name)
        if there not in self._tensors:
            raise ConfigError(f"{self.name}: no tensor {there} among {len(self._tensors)}")
        stored = self._tensors[there]
        tensor = torch.from_numpy(np.array(self._dequantize(stored.data, stored.tensor_type)))
        heads = {"attn_q": self.shape.num_heads, "attn_k": self.shape.num_kv_heads}
        kind = there.split(".")[-2]
        if self._interleaved and kind in heads:
            pairs = tensor.view(heads[kind], self.shape.head_dim // 2, 2, -1)
            tensor = pairs.transpose(1, 2).reshape(tensor.shape)
        return tensor


def _gguf_name(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` -> `blk.3.ffn_up.weight`."""
    stem, kind = name.rsplit(".", 1)
    prefix = ""
    if stem.startswith("model.layers."):
        _, _, layer, stem = stem.split(".", 3)
        prefix = f"blk.{layer}."
    return f"{prefix}{_NAMES[stem]}.{kind}"
