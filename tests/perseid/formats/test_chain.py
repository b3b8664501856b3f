import pytest

from perseid.engine import END, Completion
from perseid.formats import Draft, format_of
from perseid.formats.chain import Chain, Settings
from perseid.formats.extraction import After
from perseid.formats.telling import Told

TOLD = Told("Question: {{ question }}\nAnswer:\n")
CHAIN = Chain(TOLD)
LINE, BLANK, CUT = "\n", "\n\n", ""


def test_a_step_is_a_line() -> None:
    assert CHAIN.read(Completion("Tom has 5.", LINE, 9)) == Draft("Tom has 5.\n", tokens=9)
    assert not CHAIN.runs


@pytest.mark.parametrize("line", ["The answer is 9.", r"So \boxed{9}", "#### 9"])
def test_a_line_that_says_that_it_answers_ends_the_answer(line: str) -> None:
    assert CHAIN.read(Completion(line, LINE, 9)) == Draft(f"{line}{END}", ends=True, tokens=9)


def test_a_number_alone_ends_nothing() -> None:
    assert not CHAIN.read(Completion("14 - 5 = 9", LINE, 9)).ends


@pytest.mark.parametrize(("text", "stop"), [("", LINE), ("", END), ("Question: another?", LINE), ("Tom.", BLANK)])
def test_an_empty_line_another_question_and_the_end_of_the_text_end_it(text: str, stop: str) -> None:
    draft = CHAIN.read(Completion(text, stop, 9))
    assert (draft.ends, draft.text.endswith(END), "Question" in draft.text) == (True, True, False)


def test_a_line_that_is_cut_is_no_step() -> None:
    draft = CHAIN.read(Completion("The answer is 9", CUT, 9))
    assert (draft.parsed, draft.cut) == (False, True) or draft.ends
    assert not CHAIN.read(Completion("Tom has", CUT, 9)).parsed


def test_a_whole_response_holds_its_answer() -> None:
    draft = CHAIN.read_whole(Completion("Tom has 5.\nThe answer is 9.\n", BLANK, 9))
    assert draft == Draft(f"Tom has 5.\nThe answer is 9.{END}", None, "9", True, 9, None, True, 2, False)


def test_a_whole_response_that_is_cut_has_an_answer_only_if_its_own_mark_is_closed() -> None:
    told = CHAIN.read_whole(Completion(r"So \boxed{9}. To check, we", CUT, 9))
    assert (told.answer, told.parsed, told.cut, told.text.endswith(END)) == ("9", True, True, False)
    untold = CHAIN.read_whole(Completion("14 - 5 = 9. Then", CUT, 9))
    assert (untold.answer, untold.parsed, untold.cut) == (None, False, True)


def test_the_answer_is_found_in_the_whole_response_by_the_first_rule_that_finds_one() -> None:
    assert CHAIN.answer(f"Tom has 5.\n14 - 5 = 9.\n{END}", "") == "9"
    assert CHAIN.answer(f"\\boxed{{3}}\nwhich is 9.\n{END}", "") == "3"
    assert Chain(TOLD, rules=(After(after="Result:"),)).answer("Result: 4\nand 5", "") == "4"
    assert CHAIN.answer("Nothing here.", "") is None


def test_texts_are_the_same_but_for_white_space() -> None:
    assert CHAIN.program_key(f"a  b\nc{END}") == CHAIN.program_key("a b c") != CHAIN.program_key("a bc")


def test_a_response_is_split_into_its_lines() -> None:
    response = CHAIN.write(["Tom has 5.", "The answer is 9."])
    assert CHAIN.split(response) == ("Tom has 5.\n", f"The answer is 9.{END}")
    assert "".join(CHAIN.split(response)) == response


def test_its_own_examples_answer() -> None:
    own = format_of(Settings())
    assert isinstance(own, Chain)
    found = [own.read_whole(Completion(shot.response, BLANK, 1)).answer for shot in own.told.shots]
    assert found == ["9", "42", "29", "3"]
