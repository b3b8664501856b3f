"""A `transformers` model in this process: what the embedded engine and the PPM share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from models import adapters
from models.render import Tokens
from models.weights import Weights
from perseid import experiment


class EmbeddedModel:
    """A checkpoint folder, loaded by `auto` (a class of `transformers`) for use alone; an adapter is merged into it.

    weights: the content hash of the folder. batch: sequences to compute at once. context: tokens of the longest text.
    Computed in the dtype that the settings name for it, on a GPU where there is one. Raises as `Weights.of` does.
    """

    def __init__(self, auto: Any, folder: Path, settings: experiment.Engine) -> None:
        torch.set_num_threads(settings.threads)
        weights = Weights.of(folder)
        self.weights = weights.identity
        self.batch = settings.batch
        self.renderer = weights.renderer()
        self.tokenizer = self.renderer.tokenizer
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = adapters.merged(weights, auto, settings.scoring).eval().to(self.device)
        self.context = weights.context(self.model.config)

    def prefill(
        self, model: Any, sequences: Sequence[Tokens], rows: Sequence[int], **options: Any
    ) -> tuple[Any, DynamicCache, torch.Tensor, torch.Tensor]:
        """Compute each sequence once, left-padded, for the rows that go on from it.

        Args:
            model: the model or its base, called with `options`.
            rows: for each row to come the number of its sequence.

        Returns:
            The model's output, one a sequence; keys and values, mask `[B, T]` and `rows` as an index, one a row.
        """
        width = max(map(len, sequences))
        ids = torch.tensor([(0,) * (width - len(s)) + s for s in sequences], dtype=torch.long, device=self.device)
        mask = torch.tensor([[0] * (width - len(s)) + [1] * len(s) for s in sequences], device=self.device)
        cache, index = DynamicCache(config=self.model.config), torch.tensor(rows, device=self.device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, **options)
        cache.batch_select_indices(index)
        return output, cache, mask[index], index
