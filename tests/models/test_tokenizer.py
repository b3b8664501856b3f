"""The tokenizer's marks are those that the methods know: a step that holds one of them is no step."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from models.checkpoint import weights_hash
from models.tokenizer import save_tokenizer, train_tokenizer
from perseid.engine import Completion
from perseid.formats import TOOLS
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP, MARKS, PAD


def test_the_special_tokens_are_the_marks_of_the_method_and_the_padding_and_none_is_code() -> None:
    tokenizer = train_tokenizer(["a = 1\n", "print(a)"], 400, MARKS)
    special = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    assert special == {PAD, *MARKS}
    assert (tokenizer.pad_token, tokenizer.eos_token) == (PAD, END_OF_ANSWER)
    parsed = [TOOLS.read(Completion(f"a = '{mark}'", END_OF_STEP, 3)).parsed for mark in sorted(special)]
    assert parsed == [False] * len(special)


@pytest.mark.parametrize("how", [{}, {"local_files_only": True}, {"local_files_only": False}])
def test_a_tokenizer_is_saved_to_the_same_bytes_however_it_was_loaded(tmp_path: Path, how: dict[str, bool]) -> None:
    """Offline or not, and as often as rounds follow each other."""
    made, again = tmp_path / "made", tmp_path / "again"
    for folder in (made, again):
        folder.mkdir()
        (folder / "model.safetensors").touch()
    save_tokenizer(train_tokenizer(["a = 1\n", "print(a)"], 400, MARKS), made)
    loaded = PreTrainedTokenizerFast.from_pretrained(made, **how)
    assert {"is_local", "local_files_only"} & set(loaded.init_kwargs)
    save_tokenizer(loaded, again)
    assert weights_hash(again) == weights_hash(made)
