"""vLLM's own `Scheduler`, called step by step; what a model would sample comes from the trace."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

from peer_traces import token_ids
from served_step import Planned
from vllm.config import CacheConfig as VllmCacheConfig
from vllm.config import DeviceConfig, VllmConfig
from vllm.config import SchedulerConfig as VllmSchedulerConfig
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm_engine import LONGEST, free_queue, kv_cache_config, vllm_request

from pcache.cache.contract import CacheConfig
from pcache.scheduler.state import SchedulerConfig
from pcache.types import Trace

__all__ = ["VllmServer"]

MODEL = {
    "uses_mrope": False, "max_model_len": LONGEST, "runner_type": "generate",
    "is_diffusion": False, "supports_multimodal_inputs": False, "return_sampling_mask": False,
    "is_encoder_decoder": False, "multimodal_config": None, "architecture": "",
}  # fmt: skip
"""What the scheduler asks of a model: a plain text model that generates."""


def num_hashed(scheduler: Scheduler, request: Request) -> int:
    """Blocks of a running request that others can match."""
    blocks = scheduler.kv_cache_manager.get_blocks(request.request_id).blocks[0]
    return sum(block.block_hash is not None for block in blocks)


class TakesBack(Scheduler):
    """vLLM's scheduler with pcache's rule for a request that is dropped from a plan before it ran.

    It loses the hashes that it gained in this plan. vLLM leaves them, so that others can match
    blocks that nothing will compute. Only `--order priority` can drop a request it has scheduled.
    """

    def schedule(self, throttle_prefills: bool = False) -> Any:
        self.hashed_before = {
            request.request_id: num_hashed(self, request) for request in self.running
        }
        return super().schedule(throttle_prefills)

    def _preempt_request(self, request: Request, *arguments: Any, **keywords: Any) -> None:
        blocks = self.kv_cache_manager.get_blocks(request.request_id).blocks[0]
        gained = blocks[self.hashed_before[request.request_id] :]
        self.kv_cache_manager.evict_blocks({block.block_id for block in gained})
        super()._preempt_request(request, *arguments, **keywords)


class AsyncTakesBack(TakesBack, AsyncScheduler):
    """The same for the scheduler that plans a step while one runs."""


class VllmServer:
    """A `Scheduler`, or with overlap an `AsyncScheduler`, whose steps run when the caller says so.

    `take_back`: with pcache's rule of `TakesBack`.
    """

    def __init__(
        self, trace: Trace, cache: CacheConfig, rules: SchedulerConfig, *, take_back: bool = True
    ) -> None:
        self.trace, self.size = trace, cache.block_size
        self.tokens = [token_ids(trace, number) for number in range(len(trace))]
        self.in_flight: deque[tuple[SchedulerOutput, dict[str, bool]]] = deque()
        limits = VllmSchedulerConfig(
            max_num_seqs=rules.max_running, max_num_scheduled_tokens=rules.token_budget,
            max_num_batched_tokens=max(rules.token_budget, rules.max_running),
            max_model_len=LONGEST, is_encoder_decoder=False, enable_chunked_prefill=True,
            async_scheduling=rules.overlap == 1,
            policy="priority" if rules.order == "priority" else "fcfs",
        )  # fmt: skip
        kv = kv_cache_config(cache)
        config = VllmConfig(
            scheduler_config=limits, device_config=DeviceConfig(device="cpu"),
            cache_config=VllmCacheConfig(block_size=self.size, enable_prefix_caching=True),
        )  # fmt: skip
        config.cache_config.num_gpu_blocks = kv.num_blocks
        config.model_config = SimpleNamespace(**MODEL)
        no_grammars: Any = SimpleNamespace(accept_tokens=lambda *_: True)
        plain, ruled = (
            (Scheduler, TakesBack) if rules.overlap == 0 else (AsyncScheduler, AsyncTakesBack)
        )
        kind = ruled if take_back else plain
        self.scheduler = kind(config, kv, no_grammars, self.size)
        assert self.scheduler.use_v2_model_runner, "its outputs tell resumed requests as new ones"

    def add(self, number: int) -> None:
        self.scheduler.add_request(vllm_request(self.trace, number, self.size))

    def plan(self) -> Planned:
        """Schedule a step; it is in flight if there is anything in it."""
        scheduler = self.scheduler
        output = scheduler.schedule()
        counts = output.num_scheduled_tokens
        if counts:
            samples = {name: not scheduler.requests[name].is_prefill_chunk for name in counts}
            self.in_flight.append((output, samples))
        return Planned(
            [(int(name), count) for name, count in counts.items()],
            {int(new.req_id): new.num_computed_tokens for new in output.scheduled_new_reqs},
            {int(name) for name in output.preempted_req_ids or ()},
            {
                int(request.request_id): list(
                    scheduler.kv_cache_manager.get_block_ids(request.request_id)[0]
                )
                for request in scheduler.running
            },
        )  # fmt: skip

    def commit(self) -> set[int]:
        """The oldest step in flight has run; who finished with it."""
        scheduler = self.scheduler
        output, samples = self.in_flight.popleft()
        unfinished = set(scheduler.requests)
        tokens = [
            [self.tokens[int(name)][scheduler.requests[name].num_tokens]] if sampled else []
            for name, sampled in samples.items()
        ]
        places = {name: place for place, name in enumerate(samples)}
        scheduler.update_from_output(output, ModelRunnerOutput(list(samples), places, tokens))
        return {int(name) for name in unfinished - set(scheduler.requests)}

    @property
    def unsettled(self) -> set[int]:
        """Running requests for which a token in flight matters, which pcache knows from the trace.

        It is the last one, or it is in a block that is full and will be hashed when it is known.
        """
        return {
            int(request.request_id) for request in self.scheduler.running
            if request.num_output_tokens + request.num_output_placeholders == request.max_tokens
            or request.num_computed_tokens // self.size > num_hashed(self.scheduler, request)
        }  # fmt: skip

    @property
    def free_blocks(self) -> list[tuple[int, bool]]:
        return free_queue(self.scheduler.kv_cache_manager.block_pool)

    @property
    def done(self) -> bool:
        return not self.scheduler.has_unfinished_requests()
