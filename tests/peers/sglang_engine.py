"""SGLang's own radix caches, allocators and requests, driven without a model.

Importing this needs the wheel; `conftest.py` does it when a test asks. A request goes the way that it
goes in SGLang's scheduler: match and adopt the prefix, lock it, allocate (evicting), checkpoint after
each prefill chunk, allocate a token a decode, checkpoint and release. Every decision is SGLang's.
"""

from __future__ import annotations

import logging
from array import array
from types import SimpleNamespace

from absent import absent, without_init

from pcache.cache.contract import CacheConfig
from pcache.types import Trace

logging.getLogger("torch").setLevel(logging.ERROR)

EMPTY_PACKAGES = ["sglang", "sglang.srt.configs"]
"""Their `__init__` would import the front-end language, and every model's configuration."""
ABSENT = [
    "sglang.kernels.ops.kvcache", "sglang.srt.configs", "sglang.srt.constrained", "sglang.srt.layers",
    "sglang.srt.mem_cache.index_key_cache",
]  # fmt: skip
"""GPU kernels that move KV, model configurations, grammars, layers of models, and the cache of a
sparse attention's index keys."""

for package in EMPTY_PACKAGES:
    without_init(package)
absent(ABSENT, but=["sglang.srt.configs.shared_experts"])

import torch  # noqa: E402
from peer_traces import token_ids  # noqa: E402
from sglang.srt.managers.schedule_batch import Req  # noqa: E402
from sglang.srt.mem_cache.allocation import (  # noqa: E402
    alloc_for_decode_default,
    alloc_for_extend,
)
from sglang.srt.mem_cache.allocator import (  # noqa: E402
    PagedTokenToKVPoolAllocator,
    TokenToKVPoolAllocator,
)
from sglang.srt.mem_cache.base_prefix_cache import BasePrefixCache  # noqa: E402
from sglang.srt.mem_cache.cache_init_params import CacheInitParams  # noqa: E402
from sglang.srt.mem_cache.common import (  # noqa: E402
    checkpoint_kv_cache,
    release_kv_cache,
)
from sglang.srt.mem_cache.memory_pool import ReqToTokenPool  # noqa: E402
from sglang.srt.mem_cache.radix_cache import RadixCache  # noqa: E402
from sglang.srt.mem_cache.unified_cache.component_type import ComponentType  # noqa: E402
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache  # noqa: E402
from sglang.srt.runtime_context import get_context  # noqa: E402
from sglang.srt.sampling.sampling_params import SamplingParams  # noqa: E402
from sglang.srt.server_args import ServerArgs  # noqa: E402

__all__ = ["AMPLE_TOKENS", "CLASSES", "SerialSglang", "tree_core"]

CLASSES = ("radix", "unified-python", "unified-rust")
AMPLE_TOKENS = 1 << 15
"""What "unlimited" is here: more than any of these traces touches."""

# Attention on plain PyTorch, so that rows of block tables are written by torch, not by a GPU kernel.
get_context().set_server_args(ServerArgs(model_path="none", attention_backend="torch_native"))


def tree_core(cache: BasePrefixCache) -> str:
    """The class that keeps the tree, as SGLang chose it."""
    return type(getattr(cache, "tree_core", cache)).__name__


class SerialSglang:
    """One request after another through a radix cache."""

    def __init__(self, kind: str, config: CacheConfig, longest_tokens: int) -> None:
        self.size = config.block_size
        tokens = AMPLE_TOKENS if config.kv_tokens is None else config.kv_tokens
        self.capacity = tokens // self.size * self.size
        self.rows = ReqToTokenPool(1, longest_tokens + self.size, "cpu", False)
        self.allocator = (
            TokenToKVPoolAllocator(self.capacity, torch.float16, "cpu", None, False)
            if self.size == 1
            else PagedTokenToKVPoolAllocator(
                self.capacity, self.size, torch.float16, "cpu", None, False
            )
        )
        params = CacheInitParams(
            disable=False, req_to_token_pool=self.rows, page_size=self.size,
            token_to_kv_pool_allocator=self.allocator, eviction_policy=config.eviction,
        )  # fmt: skip
        if kind == "radix":
            self.cache = RadixCache(params)
        else:
            params.tree_components = (ComponentType.FULL,)
            params.tree_core_backend = kind.removeprefix("unified-")
            self.cache = UnifiedRadixCache(params)

    def serve(self, trace: Trace, number: int, *, outputs: bool, chunk_tokens: int) -> int:
        """Cached prompt tokens of a request that comes, is computed and goes; -1 if it cannot fit."""
        tokens, prompt = token_ids(trace, number), int(trace.prompt_tokens[number])
        total = len(tokens) - 1 if outputs else prompt
        if total + (self.size if self.size > 1 else 0) > self.capacity:
            return -1
        salt = int(trace.salt[number])
        request = Req(
            str(number), "", array("q", tokens[:prompt]), SamplingParams(max_new_tokens=len(tokens)),
            priority=int(trace.priority[number]), cache_salt=str(salt) if salt else None,
        )  # fmt: skip
        request.init_next_round_input(self.cache)
        hits = request.prefix_len
        request.lock = self.cache.lock(request.last_node)
        step = chunk_tokens or prompt
        while request.prefix_len < prompt:
            request.extend_end = min(prompt, request.prefix_len + step)
            alloc_for_extend(self._prefill(request))
            checkpoint_kv_cache(request, self.cache)
        for token in tokens[prompt:total]:
            request.output_ids.append(token)
            alloc_for_decode_default(self._decode(request), 1)
        release_kv_cache(request, self.cache, checkpoint=total > prompt)
        return int(hits)

    def _batch(self, request: Req, tokens: int) -> SimpleNamespace:
        """What the allocation functions read of a batch: here, one request of that many tokens."""
        length = torch.tensor([tokens])
        return SimpleNamespace(
            tree_cache=self.cache, req_to_token_pool=self.rows, reqs=[request], device="cpu",
            seq_lens=length, seq_lens_cpu=length, maybe_evict_swa=lambda: None,
            is_dllm=lambda: False, hisparse_coordinator=None,
            model_config=SimpleNamespace(is_encoder_decoder=False),
        )  # fmt: skip

    def _prefill(self, request: Req) -> SimpleNamespace:
        batch = self._batch(request, request.extend_end)
        batch.prefix_lens, batch.extend_lens = [request.prefix_len], [request.extend_len]
        batch.extend_num_tokens = request.extend_len
        return batch

    def _decode(self, request: Req) -> SimpleNamespace:
        batch = self._batch(request, request.kv.kv_committed_len)
        batch.req_pool_indices = batch.req_pool_indices_cpu = torch.tensor(
            [request.kv.req_pool_idx]
        )
        return batch

    @property
    def free_blocks(self) -> int:
        return int(self.allocator.available_size()) // self.size

    @property
    def cached_blocks(self) -> int:
        return int(self.cache.evictable_size()) // self.size
