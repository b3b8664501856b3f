"""The PPM as a `Scorer`: one score a prefix, read at its last token. What siblings share is computed once a call.

Where a prefix ends goes by its length: a tokenizer may pad with the very token that ends a text.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import eq
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from models.adapters import HEAD
from models.embedded import EmbeddedModel
from models.pairwise import served
from models.render import Tokens
from perseid import experiment
from perseid.engine import Prompt
from perseid.errors import UserError


class PpmScorer(EmbeddedModel):
    """A `Scorer` over a folder that `train_ppm` wrote. What siblings share, the question and the steps before, is
    computed once a call. Raises `UserError` for one that was not trained."""

    def __init__(self, folder: Path, settings: experiment.Engine) -> None:
        super().__init__(AutoModelForSequenceClassification, folder, settings)
        if getattr(self.model.config, "ppm_untrained", False):
            raise UserError(folder, "ppm", "expected a PPM that was trained; there were no pairs for this one")

    async def score(self, prefixes: Sequence[Prompt]) -> list[float]:
        """One score a prefix, in (-1, 1)."""
        return self.score_now(prefixes)

    def score_now(self, prefixes: Sequence[Prompt]) -> list[float]:
        """`score`, without an event loop."""
        ids = self.renderer.encoded(prefixes)
        scores: dict[Tokens, float] = {}
        for siblings in _batches(_siblings(ids.values()), self.batch):
            scores |= self._score(siblings)
        return [scores[ids[prefix]] for prefix in prefixes]

    @torch.inference_mode()
    def _score(self, siblings: Sequence["_Siblings"]) -> dict[Tokens, float]:
        """Each stem once, then every tail after its stem's keys and values."""
        rows = [(number, member) for number, some in enumerate(siblings) for member in some.members]
        stems = [some.stem for some in siblings]
        _, cache, mask, _ = self.prefill(self.model.base_model, stems, [number for number, _ in rows])
        tails = [member[len(stems[number]) :] for number, member in rows]
        lengths = torch.tensor([len(tail) for tail in tails], device=self.device)
        width = max(map(len, tails))
        ids = torch.tensor([tail + (0,) * (width - len(tail)) for tail in tails], device=self.device)
        own = (torch.arange(width, device=self.device) < lengths[:, None]).to(mask.dtype)
        mask = torch.cat([mask, own], dim=1)
        positions = (mask.cumsum(1) - 1)[:, -width:]
        hidden = self.model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache
        ).last_hidden_state
        logits = getattr(self.model, HEAD)(hidden)[torch.arange(len(rows), device=self.device), lengths - 1, 0]
        scores = served(logits.float(), self.model.config.ppm_scale).tolist()
        return dict(zip((member for _, member in rows), scores, strict=True))


@dataclass(frozen=True)
class _Siblings:
    """Sequences that begin with `stem` and go on for at least one token."""

    stem: Tokens
    members: Sequence[Tokens]


def _siblings(sequences: Iterable[Tokens]) -> list[_Siblings]:
    """Neighbours in the order of their tokens that share more than half, by length of the stem."""
    groups: list[_Siblings] = []
    for sequence in sorted(set(sequences)):
        if groups:
            stem = groups[-1].stem
            shared = sum(takewhile(bool, map(eq, stem, sequence[:-1])))
            if 2 * shared > len(sequence):
                groups[-1] = _Siblings(stem[:shared], [*groups[-1].members, sequence])
                continue
        groups.append(_Siblings(sequence[:-1], [sequence]))
    return sorted(groups, key=lambda some: (len(some.stem), some.stem))


def _batches(groups: Sequence[_Siblings], size: int) -> Iterator[list[_Siblings]]:
    """Of at least `size` members, but for the last."""
    batch: list[_Siblings] = []
    count = 0
    for group in groups:
        batch.append(group)
        count += len(group.members)
        if count >= size:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch
