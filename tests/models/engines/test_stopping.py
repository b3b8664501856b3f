"""Where a text ends: tokens exactly, strings wherever the text spells them."""

from models.engines.stopping import Stops
from models.render import Renderer
from perseid.engine import END
from tests.models.tiny import CHATML, fast


def test_special_tokens_are_met_as_tokens_and_all_else_as_text() -> None:
    renderer = Renderer(fast(CHATML), ends=[0])
    stops = Stops.of(renderer, ("\nprint(", "<|im_start|>", END))
    im_start, im_end = (renderer.special[name] for name in ("<|im_start|>", "<|im_end|>"))
    assert stops.tokens == {im_end: END, 0: END, im_start: "<|im_start|>"}
    assert stops.strings == ("\nprint(",)


def test_the_end_of_sequence_ends_nothing_that_did_not_ask_for_it() -> None:
    assert Stops.of(Renderer(fast()), ("\n",)).tokens == {}


def test_a_special_token_that_is_asked_for_by_name_is_told_by_its_name() -> None:
    renderer = Renderer(fast())
    assert Stops.of(renderer, (END, "<|endoftext|>")).tokens == {renderer.special["<|endoftext|>"]: "<|endoftext|>"}


def test_of_several_stop_strings_the_first_in_the_text_counts() -> None:
    stops = Stops.of(Renderer(fast()), ("\n\n", "x = ", "\n"))
    assert stops.first_in("# add\n\nx = 3") == (5, "\n\n")
    assert stops.first_in("y = x = 3") == (4, "x = ")
    assert stops.first_in("nothing") == (-1, "")


def test_the_window_holds_the_bytes_of_the_longest_stop_string() -> None:
    assert Stops.of(Renderer(fast()), ("é" * 10,)).window == 24
