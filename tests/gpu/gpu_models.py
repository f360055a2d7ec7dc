"""Small random models of every family, made by transformers' own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": False}),
    "llama-llama3-rope": ("Llama", {"rope_parameters": LLAMA3, "head_dim": 32}),
    "llama-linear-rope": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    ),
    "smollm2": ("Llama", {"tie_word_embeddings": True, "num_attention_heads": 6, "head_dim": 16,
                          "hidden_size": 96}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 32}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
}  # fmt: skip


def make_transformers_model(name: str) -> Any:
    """A random fp32 model; biases and norm weights are random too, so that none can be forgotten."""
    family, changes = FAMILIES[name]
    config = getattr(transformers, f"{family}Config")(**(COMMON | changes))
    torch.manual_seed(7)
    model = getattr(transformers, f"{family}ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                parameter.normal_(0.0, 0.5)
            elif "norm" in key:
                parameter.normal_(1.0, 0.2)
    return model


def save(name: str, directory: Path) -> Any:
    """Write the model as a Hugging Face directory and return it."""
    model = make_transformers_model(name)
    model.save_pretrained(directory)
    return model


def sequence(seed: int, length: int) -> list[int]:
    """Random token ids."""
    return torch.randint(
        COMMON["vocab_size"], (length,), generator=torch.Generator().manual_seed(seed)
    ).tolist()


@torch.no_grad()
def expected_logits(model: Any, tokens: list[int]) -> np.ndarray:
    """Logits of the last token after a full forward pass in transformers, fp32 [vocab]."""
    return model(torch.tensor([tokens])).logits[0, -1].float().numpy()
