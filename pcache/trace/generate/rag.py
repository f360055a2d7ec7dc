"""Questions over shared documents: retrieved documents come first, the question last."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pcache.trace.generate.contract import Draft, Workload, parameter, workload
from pcache.trace.generate.draws import Draws, popularity

__all__ = ["Rag"]

_RELATED = 3
"""A document's related ones are drawn from this many times the documents still needed."""


@workload("rag")
class Rag(Workload):
    """The best match is drawn by popularity; the others are documents related to it, in varying
    order, so that prompts part where their retrieval differs."""

    rate: float = parameter(1.5, "requests per second, on average", 1e-6, 1e6)
    documents: int = parameter(300, "documents in the store", 1, 100_000)
    zipf: float = parameter(1.0, "Zipf exponent of their popularity", 0, 10)
    retrieved: int = parameter(5, "documents in a prompt", 1, 1000)
    system_tokens: int = parameter(150, "tokens of the instruction all prompts share", 1, 10**6)
    document_tokens: int = parameter(600, "mean tokens of a document", 1, 1_000_000)
    question_tokens: int = parameter(45, "mean tokens of a question", 1, 1_000_000)
    output_tokens: int = parameter(160, "mean tokens of an answer", 1, 1_000_000)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One request a session."""
        system = draws.text(self.system_tokens)
        texts = [draws.text(draws.length(self.document_tokens)) for _ in range(self.documents)]
        chosen = popularity(self.documents, self.zipf)
        related = popularity(_RELATED * self.retrieved, 1.0)
        while True:
            lead = draws.choose(chosen)
            found = [lead]
            while len(found) < min(self.retrieved, self.documents):
                # Related documents of number k are k + 1, k + 2, …, nearer ones more often.
                other = (lead + 1 + draws.choose(related)) % self.documents
                if other not in found:
                    found.append(other)
            question = draws.text(draws.length(self.question_tokens))
            prompt = np.concatenate((system, *(texts[number] for number in found), question))
            yield [Draft(0.0, prompt, draws.text(draws.length(self.output_tokens)))]
