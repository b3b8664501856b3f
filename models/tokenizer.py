"""The small policy's tokenizer: byte-level BPE whose merges may span words, so that a step is a few tokens.

Turns of phrase are cut around the names of what programs call, so that a name is the same token wherever it stands.
Digits stay single tokens, so that no number is a word of its own; the delimiters of the prompt are special tokens, so
that the tokens of a prefix never depend on what follows it. Trained on the demonstrations alone (round 0).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from perseid.formats.tools import PAD

CIRCUMSTANCES: Final = ("is_local", "local_files_only")  # transformers notes how a tokenizer was loaded


def train_tokenizer(texts: Sequence[str], vocab_size: int, delimiters: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocab_size` tokens; `delimiters` are kept whole, the last one ends a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"\d|# (?:take|read the) |# answer|\nprint|\n\w = |\(\w\)|[,:.?\"]"), "isolated"
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, *delimiters],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=4,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=delimiters[-1],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write it into `out` as what it is, not how it was loaded: HF_HUB_OFFLINE would change a checkpoint's version."""
    for name in CIRCUMSTANCES:
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(out)
