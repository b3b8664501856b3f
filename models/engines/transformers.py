"""The embedded engine: a `transformers` causal model continues prompts in this process, in dynamic batches.

Requests are sorted by length and decoded together; requests with the same prompt share one prefill; finished
sequences leave the batch. Every token is drawn by inverse transform from a uniform number that is a hash of the
request's seed and the position, so a request's randomness does not depend on who shares its batch. Its floating point
still may: the same *list* of requests gives the same answers on the same machine and thread count, the same request
in another list nearly always.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from models.embedded import EmbeddedModel, Tokens
from perseid import experiment
from perseid.engine import Completion, Generate


class TransformersEngine(EmbeddedModel):
    """An `Engine` over a folder that `transformers` saved. It takes one call at a time."""

    concurrency = 0

    def __init__(self, folder: Path, settings: experiment.Engine) -> None:
        super().__init__(AutoModelForCausalLM, folder, settings)

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        """One completion a request, in order; a prompt that leaves no room in the context is refused."""
        return self.generate_now(requests)

    def generate_now(self, requests: Sequence[Generate]) -> list[Completion]:
        """`generate`, without an event loop."""
        prompts = self.encoded(request.prompt.text for request in requests)
        completions = {i: refusal for i, r in enumerate(requests) if (refusal := self._refusal(prompts[r.prompt.text]))}
        taken = [i for i in range(len(requests)) if i not in completions]
        order = sorted(taken, key=lambda i: (len(prompts[requests[i].prompt.text]), requests[i].prompt.text, i))
        for start in range(0, len(order), self.batch):
            chunk = order[start : start + self.batch]
            rows = [_Row(i, prompts[requests[i].prompt.text], requests[i], self._stops(requests[i])) for i in chunk]
            self._decode(rows)
            completions.update({row.index: self._completion(row) for row in rows})
        return [completions[i] for i in range(len(requests))]

    def _refusal(self, prompt: Tokens) -> Completion | None:
        context = self.model.config.max_position_embeddings
        if len(prompt) < context:
            return None
        return Completion("", "", 0, f"a prompt of {len(prompt)} tokens leaves no room in a context of {context}")

    def _stops(self, request: Generate) -> dict[int, str]:
        """Stop strings by token id; each must be one token of the vocabulary."""
        ids = {self.tokenizer.convert_tokens_to_ids(stop): stop for stop in request.sampling.stop}
        if None in ids:
            raise ValueError(f"every stop string must be a token of the model, found {request.sampling.stop}")
        return ids

    @torch.inference_mode()
    def _decode(self, rows: list["_Row"]) -> None:
        """Fill `row.tokens` of rows sorted by prompt: one prefill a distinct prompt, then a token a step."""
        distinct = {prompt: number for number, prompt in enumerate(dict.fromkeys(row.prompt for row in rows))}
        numbers = [distinct[row.prompt] for row in rows]
        output, cache, mask, index = self.prefill(self.model, list(distinct), numbers, logits_to_keep=1)
        logits, alive = output.logits[index, -1], rows
        context = self.model.config.max_position_embeddings
        for position in itertools.count():
            tokens = _draw(logits, alive, position)
            for row, token in zip(alive, tokens.tolist(), strict=True):
                row.take(token, context)
            keep = [i for i, row in enumerate(alive) if not row.done]
            if not keep:
                return
            if len(keep) < len(alive):
                index = torch.tensor(keep, device=self.device)
                cache.batch_select_indices(index)
                tokens, mask, alive = tokens[index], mask[index], [alive[i] for i in keep]
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
            output = self.model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=mask.sum(1, keepdim=True) - 1,
                past_key_values=cache,
                logits_to_keep=1,
            )
            logits = output.logits[:, -1]

    def _completion(self, row: "_Row") -> Completion:
        body = row.tokens[:-1] if row.stop else row.tokens
        return Completion(self.tokenizer.decode(body, skip_special_tokens=False), row.stop, len(row.tokens))


@dataclass
class _Row:
    """One sequence being decoded."""

    index: int
    prompt: Tokens
    request: Generate
    stops: dict[int, str]

    def __post_init__(self) -> None:
        self.tokens: list[int] = []
        self.stop = ""
        self.done = False

    def take(self, token: int, context: int) -> None:
        """Append a token; ends at a stop string, the request's limit or the context."""
        self.tokens.append(token)
        self.stop = self.stops.get(token, "")
        full = len(self.tokens) >= self.request.sampling.max_tokens or len(self.prompt) + len(self.tokens) >= context
        self.done = bool(self.stop) or full


def _draw(logits: torch.Tensor, rows: Sequence[_Row], position: int) -> torch.Tensor:
    """One token a row, `[B]`: the most likely at temperature 0, else by inverse transform."""
    temperature = torch.tensor([row.request.sampling.temperature for row in rows], device=logits.device)
    greedy = logits.argmax(-1)
    if not bool(temperature.any()):
        return greedy
    probabilities = torch.softmax(logits.double() / temperature.clamp(min=1e-6)[:, None], dim=-1)
    top_p = torch.tensor([row.request.sampling.top_p for row in rows], device=logits.device)
    if bool((top_p < 1).any()):
        probabilities = _nucleus(probabilities, top_p)
    cumulative = probabilities.cumsum(-1)
    uniform = torch.from_numpy(_uniform([row.request.seed for row in rows], position)).to(logits.device)
    drawn = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]
    return torch.where(temperature > 0, drawn.clamp(max=logits.shape[1] - 1), greedy)


def _nucleus(probabilities: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Zero all but the smallest set of tokens whose probability reaches `top_p`."""
    ordered, index = probabilities.sort(dim=-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p[:, None]] = 0.0
    return torch.zeros_like(probabilities).scatter_(-1, index, ordered)


def _uniform(seeds: Sequence[int], position: int) -> np.ndarray:
    """Numbers in [0, 1), one a seed: SplitMix64 (Steele, Lea and Flood 2014) of seed and position."""
    with np.errstate(over="ignore"):
        z = np.array([seed % 2**64 for seed in seeds], dtype=np.uint64)
        z = z + np.uint64(0x9E3779B97F4A7C15) * np.uint64(position + 1)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
