"""Loading weights and configurations: what works, and what a user is told when it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gpu_engine import build
from gpu_models import expected_logits, make_transformers_model, save, sequence

from pcache.errors import ConfigError, DeviceError
from pcache.gpu.backend import backend_named
from pcache.gpu.device import dtype_named, open_device
from pcache.gpu.extra import require
from pcache.gpu.families import shape_from_config
from pcache.gpu.kv_pool import KVPool, kv_block_bytes
from pcache.gpu.weight_sources import open_source
from pcache.gpu.weights import load_weights, random_weights
from pcache.shapes import MODELS

CPU = torch.device("cpu")
TINY = replace(MODELS["qwen3-8b"], num_layers=2, hidden_size=64, intermediate_size=96, num_heads=4,
               num_kv_heads=2, head_dim=16, vocab_size=50)  # fmt: skip


def test_weights_in_several_files(tmp_path: Path) -> None:
    model = make_transformers_model("llama")
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    prompt = sequence(1, 9)
    driver = build(tmp_path)
    logits = driver.logits([(driver.request(prompt), 9)])[0]
    torch.testing.assert_close(
        torch.from_numpy(logits),
        torch.from_numpy(expected_logits(model, prompt)),
        rtol=0,
        atol=2e-4,
    )


def test_random_weights_are_seeded_and_keep_activations_finite() -> None:
    first, again, other = (random_weights(TINY, seed, torch.bfloat16, CPU) for seed in (1, 1, 2))
    assert torch.equal(first.layers[1].down, again.layers[1].down)
    assert not torch.equal(first.layers[1].down, other.layers[1].down)
    normed = torch.randn(8, 64).bfloat16()
    assert 0.5 < (normed @ first.layers[0].gate_up.T).float().std() < 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope type 'yarn'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"head_dim": 24}, "power of two"),
    ],
)
def test_unsupported_configurations_are_named(change: dict[str, object], problem: str) -> None:
    config = make_transformers_model("llama").config.to_dict() | change
    with pytest.raises(ConfigError, match=problem):
        shape_from_config(config, "config.json")


def test_the_older_layout_of_rope_settings() -> None:
    config = make_transformers_model("llama").config.to_dict()
    del config["rope_parameters"]
    old = config | {"rope_theta": 77.0, "rope_scaling": {"type": "linear", "factor": 2.0}}
    shape = shape_from_config(old, "old")
    assert shape.rope_theta == 77.0
    assert dict(shape.rope_scaling) == {"rope_type": "linear", "factor": 2.0}


def test_a_sliding_window_caps_the_context() -> None:
    config = make_transformers_model("mistral").config.to_dict()
    assert shape_from_config(config | {"sliding_window": 100}, "m").max_context_tokens == 100
    unused = config | {"sliding_window": 100, "use_sliding_window": False}
    assert shape_from_config(unused, "m").max_context_tokens == 2048


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a directory"):
        open_source(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"config.json: no such file"):
        open_source(tmp_path)
    save("llama", tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="not a complete safetensors file"):
        open_source(tmp_path)
    weights.unlink()
    with pytest.raises(ConfigError, match="only safetensors"):
        open_source(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        open_source(tmp_path)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF nothing")
    with pytest.raises(ConfigError, match="not a complete GGUF"):
        open_source(broken)


def test_tensors_that_do_not_fit_the_configuration_are_named(tmp_path: Path) -> None:
    save("llama", tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"intermediate_size": 97}))
    source = open_source(tmp_path)
    with pytest.raises(ConfigError, match=r"gate_proj.weight has shape \(96, 64\)"):
        load_weights(source.shape, source, torch.float32, CPU)
    path.write_text(json.dumps(config | {"num_hidden_layers": 3}))
    source = open_source(tmp_path)
    with pytest.raises(ConfigError, match=r"no tensor model.layers.2"):
        load_weights(source.shape, source, torch.float32, CPU)


def test_pool_sizes() -> None:
    block = kv_block_bytes(TINY, 16, torch.bfloat16)
    assert block == 2 * 2 * 16 * 2 * 16 * 2
    with pytest.raises(ConfigError, match="block size 24"):
        KVPool(TINY, 4, 24, torch.float32, CPU)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="known: bf16"):
        dtype_named("int3")
    with pytest.raises(ConfigError, match="known: triton"):
        backend_named("cuda-c")
    with pytest.raises(ConfigError, match="unsupported device"):
        open_device("meta")
    with pytest.raises(ConfigError, match="unknown device"):
        open_device("toaster")
    with pytest.raises(DeviceError, match=r"no CUDA device 9"):
        open_device("cuda:9")
    with pytest.raises(DeviceError, match="pip install"):
        require("no_such_package_at_all", "this test")
