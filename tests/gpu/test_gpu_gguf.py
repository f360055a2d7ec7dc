"""A GGUF file written with the gguf package gives the logits of the model that it was written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_engine import FP32_TOLERANCE, build
from gpu_models import expected_logits, make_transformers_model, sequence

from pcache.errors import ConfigError
from pcache.gpu.weight_sources import open_source

gguf = pytest.importorskip("gguf")

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "smollm2": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}


def write(model: Any, family: str, path: Path, extra: dict[str, np.ndarray] | None = None) -> None:
    architecture = ARCHITECTURES[family]
    config = model.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        there = names.get_name(name, try_suffixes=(".weight", ".bias"))
        values = parameter.detach().numpy()
        if architecture == gguf.MODEL_ARCH.LLAMA and ("q_proj" in name or "k_proj" in name):
            halves = values.reshape(-1, 2, head_dim // 2, values.shape[1])
            values = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
        writer.add_tensor(there, values)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_logits_equal_those_of_the_model_written(family: str, tmp_path: Path) -> None:
    model = make_transformers_model(family)
    path = tmp_path / "tiny.gguf"
    write(model, family, path)
    prompt = sequence(1, 30)
    driver = build(path)
    logits = driver.logits([(driver.request(prompt), 30)])[0]
    expected = expected_logits(model, prompt)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=FP32_TOLERANCE)


def test_frequencies_in_a_tensor_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    frequencies = {"rope_freqs.weight": np.ones(8, dtype=np.float32)}
    write(make_transformers_model("llama"), "llama", path, frequencies)
    with pytest.raises(ConfigError, match="RoPE frequencies"):
        open_source(path)
