import pytest

from models.engines.completions import Choice, asked, stop_met
from models.render import Renderer
from perseid.engine import END, Generate, Prompt, Sampling
from tests.models.tiny import fast


def choice(**fields: object) -> Choice:
    return Choice.model_validate({"text": "", "finish_reason": "stop", **fields})


@pytest.mark.parametrize(
    ("found", "stops", "stop"),
    [
        ({"stop_reason": "b"}, ("a", "b"), "b"),
        ({"stop_reason": None, "finish_reason": "length"}, ("a", "b"), ""),
        ({"finish_reason": "length"}, ("a",), ""),
        ({}, ("a",), "a"),
        ({}, ("a", "b"), None),
        ({}, (), None),
        ({"stop_reason": None}, ("a",), None),
        ({"stop_reason": None}, ("a", END), END),
        ({"stop_reason": 2}, ("a", END), END),
        ({"stop_reason": 2}, ("a",), None),
        ({"stop_reason": "a"}, ("a", END), "a"),
        ({}, ("a", END), None),
        ({"stop_reason": 7}, ("a",), None),
        ({"stop_reason": "c"}, ("a",), None),
    ],
)
def test_the_stop_string_is_what_the_answer_says_and_never_a_guess(
    found: dict[str, object], stops: tuple[str, ...], stop: str | None
) -> None:
    assert stop_met(choice(**found), stops, ends=(0, 2)) == stop


def test_a_request_says_all_that_decides_its_answer() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, stop=("a", "b"))
    assert asked(Generate(Prompt.of("p"), 2**63 + 5, sampling), "m") == {
        "model": "m",
        "prompt": "p",
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 5,
        "stop": ["a", "b"],
        "n": 1,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "ignore_eos": True,
        "add_special_tokens": False,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "include_stop_str_in_output": False,
    }


def test_a_pretrained_checkpoint_is_sent_its_tokens_and_told_where_to_end() -> None:
    renderer = Renderer(fast(), ends=[5])
    prompt = Prompt.of("Question: 3 + 4?\n", "x = 3", " + 4\n")
    sampling = Sampling(stop=("\n", END), top_k=20, min_p=0.1, repetition_penalty=1.2)
    body = asked(Generate(prompt, 0, sampling), "m", renderer)
    assert body["prompt"] == renderer.encode(prompt)
    assert (body["stop"], body["stop_token_ids"], body["ignore_eos"]) == (["\n"], [renderer.ends[0], 5], False)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (20, 0.1, 1.2)
