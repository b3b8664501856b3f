"""The tokenizer's marks are those that the methods know: a step that holds one of them is no step."""

from models.tokenizer import train_tokenizer
from perseid.engine import Completion
from perseid.methods.rstar_math import END_OF_ANSWER, END_OF_STEP, MARKS, METHOD, PAD


def test_the_special_tokens_are_the_marks_of_the_method_and_the_padding_and_none_is_code() -> None:
    tokenizer = train_tokenizer(["a = 1\n", "print(a)"], 400, MARKS)
    special = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    assert special == {PAD, *MARKS}
    assert (tokenizer.pad_token, tokenizer.eos_token) == (PAD, END_OF_ANSWER)
    parsed = [METHOD.parse(Completion(f"a = '{mark}'", END_OF_STEP, 3)).parsed for mark in sorted(special)]
    assert parsed == [False] * len(special)
