"""Public traces that `trace fetch` knows, each pinned to a version and the hash of its content."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "PublicTrace"]


@dataclass(frozen=True, slots=True)
class PublicTrace:
    """One file at one version. `sha256` is that of the file as it comes from `url`."""

    name: str
    url: str
    sha256: str
    license: str
    about: str


_MOONCAKE = (
    "https://raw.githubusercontent.com/kvcache-ai/Mooncake/"
    "3cca71daccf2a7afb8fe3f0295358f70e3a69fdb/FAST25-release/traces"
)
_BAILIAN = (  # the files are in Git LFS, which only this host resolves
    "https://media.githubusercontent.com/media/alibaba-edu/qwen-bailian-usagetraces-anon/"
    "5f7439c51ec248a0c585f7d90a41a6f57773b912"
)
_AZURE = (
    "https://raw.githubusercontent.com/Azure/AzurePublicDataset/"
    "b469a113cedca53ddc3bdea71a143dc4b7d8700c/data"
)
_BURST = "https://github.com/HPMLL/BurstGPT/releases/download/v2.0"

_TRACES = (
    PublicTrace(
        "mooncake-conversation",
        f"{_MOONCAKE}/conversation_trace.jsonl",
        "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df",
        "Apache-2.0",
        "Kimi chats, one hour, 12,031 requests, 512-token blocks",
    ),
    PublicTrace(
        "mooncake-toolagent",
        f"{_MOONCAKE}/toolagent_trace.jsonl",
        "48a2db1a13d3bc05e6330140c64f604ba366df20d3c9e128b5c35a01c1fa5f71",
        "Apache-2.0",
        "Kimi tools and agents, one hour, 23,608 requests, 512-token blocks",
    ),
    PublicTrace(
        "mooncake-synthetic",
        f"{_MOONCAKE}/synthetic_trace.jsonl",
        "bd070915a98fc0ed264d7cfef2ce746002eb3076a695ec31ba2674c0111ec131",
        "Apache-2.0",
        "synthetic long-context mix, 3,993 requests, 512-token blocks",
    ),
    PublicTrace(
        "mooncake-arxiv",
        "https://raw.githubusercontent.com/kvcache-ai/Mooncake/"
        "d21da178bae8db9651cf18a76824c084145fc725/mooncake_trace.jsonl",
        "b434f1816a707f4bac697235588184ebc374c9907cb981bb65fb0643471fe711",
        "Apache-2.0",
        "Kimi mix of the first paper, one hour, 23,608 requests, 512-token blocks",
    ),
    PublicTrace(
        "bailian-chat",
        f"{_BAILIAN}/qwen_traceA_blksz_16.jsonl",
        "07cedc9ed8aff301994ac68ed4aede8123b7603673575eeba9dd677de663db17",
        "Apache-2.0",
        "Qwen consumer chats (trace A), two hours, 43,058 requests, 16-token blocks",
    ),
    PublicTrace(
        "bailian-api",
        f"{_BAILIAN}/qwen_traceB_blksz_16.jsonl",
        "68e3f98e2d601d60d0abf4b89bc8a3654372abab7b1cde6373a13d0054379d59",
        "Apache-2.0",
        "Qwen business API calls (trace B), two hours, 16-token blocks",
    ),
    PublicTrace(
        "bailian-thinking",
        f"{_BAILIAN}/qwen_thinking_blksz_16.jsonl",
        "41ac36d9d1b54d084eeb6b05e9d142ba9d02f8bf79cfc9fff418d8ab7cdee906",
        "Apache-2.0",
        "Qwen reasoning model, 16-token blocks",
    ),
    PublicTrace(
        "bailian-coder",
        f"{_BAILIAN}/qwen_coder_blksz_16.jsonl",
        "3d74974cebb7bccb69b1ca6ea210a44d9a3033443c0271ed015327284dea1aff",
        "Apache-2.0",
        "Qwen code assistant, 16-token blocks",
    ),
    PublicTrace(
        "azure-2023-code",
        f"{_AZURE}/AzureLLMInferenceTrace_code.csv",
        "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6",
        "CC-BY-4.0",
        "Azure code completion, one hour, 8,819 requests, lengths only",
    ),
    PublicTrace(
        "azure-2023-conversation",
        f"{_AZURE}/AzureLLMInferenceTrace_conv.csv",
        "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8",
        "CC-BY-4.0",
        "Azure chats, one hour, 19,366 requests, lengths only",
    ),
    PublicTrace(
        "burstgpt-1",
        f"{_BURST}/BurstGPT_without_fails_1.csv",
        "a4d068a7113ec0290e74063a1b3447dc6001a30e4298eb313581b71006dda1f4",
        "CC-BY-4.0",
        "ChatGPT and GPT-4 on a campus, two months, 1.4 M requests, lengths only",
    ),
)

CATALOGUE: dict[str, PublicTrace] = {trace.name: trace for trace in _TRACES}
"""Traces by the name users type."""
