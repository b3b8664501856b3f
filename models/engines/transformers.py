"""The embedded engine: a `transformers` causal model continues prompts in this process, in dynamic batches.

Requests are sorted by length and decoded together; requests with the same prompt share one prefill; finished
sequences leave the batch. Every token is drawn by inverse transform from a uniform number that is a hash of the
request's seed and the position, so a request's randomness does not depend on who shares its batch. Its floating point
still may: the same *list* of requests gives the same answers on the same machine and thread count, the same request
in another list nearly always.

A stop string may be of any length (`stopping.py`), and a text that ends in one is what the tokens before it spell. The
end of sequence ends a text only where `END` stands among the stops. A prompt that leaves no room is refused alone.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from models.embedded import EmbeddedModel
from models.engines.drawing import Draw, drawn
from models.engines.stopping import Stops
from models.render import Tokens
from perseid import experiment
from perseid.engine import Completion, Generate


class TransformersEngine(EmbeddedModel):
    """An `Engine` over a checkpoint folder. It takes one call at a time."""

    concurrency = 0

    def __init__(self, folder: Path, settings: experiment.Engine) -> None:
        super().__init__(AutoModelForCausalLM, folder, settings)

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        """One completion a request, in order; a prompt that leaves no room in the context is refused."""
        return self.generate_now(requests)

    def generate_now(self, requests: Sequence[Generate]) -> list[Completion]:
        """`generate`, without an event loop."""
        prompts = self.renderer.encoded(request.prompt for request in requests)
        completions = {i: refusal for i, r in enumerate(requests) if (refusal := self._refusal(prompts[r.prompt]))}
        taken = [i for i in range(len(requests)) if i not in completions]
        texts = {prompt: prompt.text for prompt in prompts}
        order = sorted(taken, key=lambda i: (len(prompts[requests[i].prompt]), texts[requests[i].prompt], i))
        stops = {r.sampling.stop: Stops.of(self.renderer, r.sampling.stop) for r in requests}
        for start in range(0, len(order), self.batch):
            chunk = order[start : start + self.batch]
            rows = [_Row(i, prompts[requests[i].prompt], requests[i], stops[requests[i].sampling.stop]) for i in chunk]
            self._decode(rows)
            completions.update({row.index: self._completion(row) for row in rows})
        return [completions[i] for i in range(len(requests))]

    def _refusal(self, prompt: Tokens) -> Completion | None:
        if 0 < len(prompt) < self.context:
            return None
        why = f"a prompt of {len(prompt)} tokens leaves no room in a context of {self.context}"
        return Completion("", "", 0, why if prompt else "a prompt of no tokens is nothing to continue")

    @torch.inference_mode()
    def _decode(self, rows: list["_Row"]) -> None:
        """Fill `row.tokens` of rows sorted by prompt: one prefill a distinct prompt, then a token a step."""
        distinct = {prompt: number for number, prompt in enumerate(dict.fromkeys(row.prompt for row in rows))}
        numbers = [distinct[row.prompt] for row in rows]
        output, cache, mask, index = self.prefill(self.model, list(distinct), numbers, logits_to_keep=1)
        logits, alive = output.logits[index, -1], rows
        for position in itertools.count():
            tokens = drawn(logits, [row.draw for row in alive], position)
            for row, token in zip(alive, tokens.tolist(), strict=True):
                row.take(token, self.context)
            self._look(alive)
            keep = [i for i, row in enumerate(alive) if not row.done]
            if not keep:
                return
            if len(keep) < len(alive):
                index = torch.tensor(keep, device=self.device)
                cache.batch_select_indices(index)
                tokens, mask, alive = tokens[index], mask[index], [alive[i] for i in keep]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            output = self.model(
                input_ids=tokens[:, None],
                attention_mask=mask,
                position_ids=mask.sum(1, keepdim=True) - 1,
                past_key_values=cache,
                logits_to_keep=1,
            )
            logits = output.logits[:, -1]

    def _look(self, rows: Sequence["_Row"]) -> None:
        """End those whose last token completed a stop string. Their ends are decoded first, and whole only then."""
        looked = [row for row in rows if row.stops.strings and not row.stop]
        if not looked:
            return
        ends = self.renderer.decoded([row.tokens[-row.stops.window :] for row in looked])
        for row, end in zip(looked, ends, strict=True):
            if row.stops.first_in(end)[1]:
                text = self.renderer.decode(row.tokens)
                at, stop = row.stops.first_in(text)
                if stop:
                    row.text, row.stop, row.done = text[:at], stop, True

    def _completion(self, row: "_Row") -> Completion:
        if row.text is not None:
            return Completion(row.text, row.stop, len(row.tokens))
        body = row.tokens[:-1] if row.stop else row.tokens
        return Completion(self.renderer.decode(body), row.stop, len(row.tokens))


@dataclass
class _Row:
    """One sequence being decoded. text: what stands before a stop string, None where a token or the limit ended it."""

    index: int
    prompt: Tokens
    request: Generate
    stops: Stops

    def __post_init__(self) -> None:
        self.tokens: list[int] = []
        self.text: str | None = None
        self.stop = ""
        self.done = False
        self._draw = Draw(self.request.sampling, self.request.seed)

    @property
    def draw(self) -> Draw:
        """How the next token is drawn: what is before it matters where repeating is penalised, and there alone."""
        penalised = self.request.sampling.repetition_penalty != 1.0
        return self._draw._replace(before=(*self.prompt, *self.tokens)) if penalised else self._draw

    def take(self, token: int, context: int) -> None:
        """Append a token; ends at one that is a stop, at the request's limit or the context."""
        self.tokens.append(token)
        self.stop = self.stops.tokens.get(token, "")
        full = len(self.tokens) >= self.request.sampling.max_tokens or len(self.prompt) + len(self.tokens) >= context
        self.done = bool(self.stop) or full
