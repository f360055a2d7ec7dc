"""vLLM's own `KVCacheManager`, driven without a model, one request after another.

Importing this needs the wheel; `conftest.py` does it when a test asks. Tokens and limits come from
the trace. Every decision is vLLM's.
"""

from __future__ import annotations

import logging
import os

from absent import absent

from pcache.cache.contract import CacheConfig
from pcache.types import Trace

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
logging.getLogger("torch").setLevel(logging.ERROR)

ABSENT = [
    "cv2", "llguidance", "xgrammar", "vllm.parser", "vllm.reasoning", "vllm.tool_parsers",
]  # fmt: skip
"""Video decoding, grammars of structured output, and what parses a model's text into tool calls."""

absent(ABSENT)

import torch  # noqa: E402
from peer_traces import token_ids  # noqa: E402
from vllm.sampling_params import SamplingParams  # noqa: E402
from vllm.utils.hashing import sha256  # noqa: E402
from vllm.v1.core.block_pool import BlockPool  # noqa: E402
from vllm.v1.core.kv_cache_manager import KVCacheManager  # noqa: E402
from vllm.v1.core.kv_cache_utils import (  # noqa: E402
    get_request_block_hasher,
    init_none_hash,
)
from vllm.v1.kv_cache_interface import (  # noqa: E402
    FullAttentionSpec,
    KVCacheConfig,
    KVCacheGroupSpec,
)
from vllm.v1.request import Request  # noqa: E402

__all__ = ["LONGEST", "SerialVllm", "free_queue", "kv_cache_config", "vllm_request"]

AMPLE_BLOCKS = 4000
"""What "unlimited" is here: more blocks than any of these traces touches."""
LONGEST = 1 << 20
"""Maximum model length: no request comes near."""

init_none_hash(sha256)


def kv_cache_config(config: CacheConfig) -> KVCacheConfig:
    """One group of full attention; one block more than pcache counts, the null block."""
    blocks = AMPLE_BLOCKS if config.kv_tokens is None else config.kv_tokens // config.block_size
    spec = FullAttentionSpec(
        block_size=config.block_size, num_kv_heads=1, head_size=1, dtype=torch.float16
    )
    return KVCacheConfig(
        num_blocks=blocks + 1, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["0"], spec)]
    )


def vllm_request(trace: Trace, request: int, block_size: int) -> Request:
    """Ties in arrival are broken by the order of the trace; vLLM's urgent is small."""
    prompt = token_ids(trace, request)[: trace.prompt_tokens[request]]
    salt = int(trace.salt[request])
    return Request(
        str(request), prompt, SamplingParams(max_tokens=int(trace.output_tokens[request])), None,
        arrival_time=float(request), cache_salt=str(salt) if salt else None,
        priority=-int(trace.priority[request]),
        block_hasher=get_request_block_hasher(block_size, sha256),
    )  # fmt: skip


def free_queue(pool: BlockPool) -> list[tuple[int, bool]]:
    """Free blocks in the order in which they will be handed out, and whether each is matchable."""
    return [
        (block.block_id, block.block_hash is not None)
        for block in pool.free_block_queue.get_all_free_blocks()
    ]


class SerialVllm:
    """One request after another through a `KVCacheManager`."""

    def __init__(self, config: CacheConfig) -> None:
        self.size = config.block_size
        self.manager = KVCacheManager(
            kv_cache_config(config), LONGEST, scheduler_block_size=self.size,
            hash_block_size=self.size,
        )  # fmt: skip

    def serve(self, trace: Trace, number: int, *, outputs: bool, chunk_tokens: int) -> int:
        """Cached prompt tokens of a request that comes, is computed and goes; -1 if it cannot fit."""
        manager, request = self.manager, vllm_request(trace, number, self.size)
        tokens, prompt = token_ids(trace, number), request.num_tokens
        total = len(tokens) - 1 if outputs else prompt
        if -(-total // self.size) > manager.block_pool.get_num_free_blocks():
            return -1
        blocks, hits, _ = manager.get_computed_blocks(request)
        step = chunk_tokens or prompt
        count = min(step, prompt - hits)
        assert manager.allocate_slots(
            request, count, hits, blocks, full_sequence_must_fit=True
        )  # fmt: skip
        request.num_computed_tokens = hits + count
        while request.num_computed_tokens < prompt:
            count = min(step, prompt - request.num_computed_tokens)
            assert manager.allocate_slots(request, count)
            request.num_computed_tokens += count
        for token in tokens[prompt:total]:
            request.append_output_token_ids(token)
            assert manager.allocate_slots(request, 1)
            request.num_computed_tokens += 1
        manager.free(request)
        return hits
