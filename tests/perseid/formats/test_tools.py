import ast
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perseid.engine import Completion
from perseid.formats import TOOLS, Draft
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP, MARKS, PAD, QUESTION

SAME = [
    ("a = 1", "a = 1  # one"),
    ("# x\na = 1", "a = 1\n\n   # y"),
    ("if a:\n    b = 1  # x\n# y\n    c = 2", "if a:\n    b = 1\n    c = 2"),
    ("s = '#'  # x", "s = '#'"),
    ('s = """ 2 """', 's = """ 2 """  # x'),
    ("f(1,  # x\n  2)", "f(1,\n  2)"),
    ("a = 'x'\r\nb = 2", "a = 'x'\nb = 2"),
    ("a = 'x'   \n", "a = 'x'"),
    ("# it's\na = 1", "a = 1"),
    ('# """\na = 1\n# """', "a = 1"),
]
OTHERS = [
    ("s = '''\n# 5\n'''", "s = '''\n'''"),
    ('s = """\n# 5\n"""', 's = """\n# 6\n"""'),
    ("s = '''a  \n'''", "s = '''a\n'''"),
    ("s = '''a\n\n'''", "s = '''a\n'''"),
    ("s = '''a\n   \nb'''", "s = '''a\n\nb'''"),
    ('s = f"""{a}\n\n# 5"""', 's = f"""{a}\n# 5"""'),
    ("s = '# 5'", "s = '# 6'"),
    ("s = 'a\\\n# 5'", "s = 'a\\\n# 6'"),
    ("a = 1 \\\n\nb = 2", "a = 1 \\\nb = 2"),
    ("a = 1 \\\n\n", "a = 1 \\\n"),
    ("a = 1 \\\r\n", "a = 1 \\\n"),
    ("if a:\n    b = 1\nc = 2", "if a:\n    b = 1\n    c = 2"),
    ("b = 1\n# x\u2028a = 1", "b = 1\na = 1"),
    ("b = 1\n# x\x0ca = 1", "b = 1\na = 1"),
    ("# x\ra = 1", "# x a = 1\nb"),
    ("s = 'a # 5", "s = 'a # 6"),
    ('s = """a # 5', 's = """a # 6'),
    ("a = $ # 5", "a = $ # 6"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_programs_that_differ_in_comments_and_blank_lines_alone_are_one(one: str, other: str) -> None:
    assert TOOLS.program_key(one) == TOOLS.program_key(other)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_what_only_looks_like_a_comment_tells_programs_apart(one: str, other: str) -> None:
    assert TOOLS.program_key(one) != TOOLS.program_key(other)


PIECES = ["a = 1", "if a:", "    b = 2", "    ", "", "#", " # x", "'", '"', "'''", '"""', "\\", *"\n\n\n\r\t\f"]
programs = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@settings(deadline=None, max_examples=200)
@given(programs)
def test_the_key_of_a_program_means_what_the_program_means(code: str) -> None:
    assert meaning(TOOLS.program_key(code)) == meaning(code)


@pytest.mark.slow
@settings(deadline=None, max_examples=1500)
@given(programs)
def test_the_keys_of_many_programs_mean_what_they_mean(code: str) -> None:
    assert meaning(TOOLS.program_key(code)) == meaning(code)


def meaning(code: str) -> str:
    """What Python reads, without places; for what it cannot read, that it cannot."""
    warnings.simplefilter("ignore", SyntaxWarning)
    try:
        return ast.dump(ast.parse(code))
    except SyntaxError:
        return "no program"


def test_the_prompt_is_the_question_and_the_steps_with_their_delimiters() -> None:
    first = TOOLS.read(Completion("# read\na = numbers(q)", END_OF_STEP, 7))
    assert first == Draft("# read\na = numbers(q)<|end_of_step|>", "# read\na = numbers(q)", None, False, 7)
    last = TOOLS.read(Completion("# answer\nprint(a)", END_OF_ANSWER, 5))
    assert last == Draft("# answer\nprint(a)<|end_of_answer|>", "# answer\nprint(a)", None, True, 5)
    assert TOOLS.prompt("1 and 2?", (first.text, last.text)).text == (
        "<|question|>1 and 2?<|steps|># read\na = numbers(q)<|end_of_step|># answer\nprint(a)<|end_of_answer|>"
    )
    assert TOOLS.code_of(first.text + last.text) == "# read\na = numbers(q)\n# answer\nprint(a)"


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        *(("a = 1", ""), ("", END_OF_STEP), ("# only words", END_OF_STEP)),
        *((f"a = '{mark}'", END_OF_STEP) for mark in (*MARKS, PAD, "<|unk|>", "<|im_end|>", "<|fim▁end|>")),
        *((f"a = 1  # {mark}", END_OF_ANSWER) for mark in (QUESTION, PAD)),
    ],
)
def test_a_sample_cut_short_or_empty_or_with_a_mark_inside_is_no_step(text: str, stop: str) -> None:
    assert not TOOLS.read(Completion(text, stop, 1)).parsed


@pytest.mark.parametrize("code", ["a <| b", "a <b|> c", "'<|' + '|>'", "a <| b |> c", "a | b > c"])
def test_what_is_not_a_mark_as_a_whole_is_none(code: str) -> None:
    assert TOOLS.read(Completion(code, END_OF_STEP, 1)).parsed


def test_a_question_reaches_the_program_as_it_is() -> None:
    question = 'it\'s "1\\2"\nor 3'
    names: dict[str, str] = {}
    exec(TOOLS.setup(question), names)
    assert names["q"] == question


WHOLE = "a = 1<|end_of_step|># answer\nprint(a)"


def test_a_sample_is_a_whole_response_with_all_its_steps() -> None:
    assert TOOLS.read_whole(Completion(WHOLE, END_OF_ANSWER, 9)) == Draft(
        WHOLE + END_OF_ANSWER, "a = 1\n# answer\nprint(a)", None, True, 9, None, True, 2
    )


def test_a_response_cut_short_or_with_an_empty_step_is_no_answer() -> None:
    assert not TOOLS.read_whole(Completion(WHOLE, "", 9)).parsed
    assert not TOOLS.read_whole(Completion("a = 1<|end_of_step|><|end_of_step|>print(a)", END_OF_ANSWER, 9)).parsed


@pytest.mark.parametrize("mark", [*MARKS[:2], END_OF_ANSWER, PAD, "<|unk|>"])
def test_a_response_with_a_mark_inside_is_no_answer(mark: str) -> None:
    assert not TOOLS.read_whole(Completion(f"a = '{mark}'<|end_of_step|>print(a)", END_OF_ANSWER, 9)).parsed


def test_a_response_is_split_into_its_steps_and_they_make_it_again() -> None:
    response = TOOLS.write(["a = 1", "# answer\nprint(a)"])
    assert response == WHOLE + END_OF_ANSWER
    assert TOOLS.split(response) == ("a = 1<|end_of_step|>", "# answer\nprint(a)<|end_of_answer|>")
    assert TOOLS.split("a = 1<|end_of_step|>") == ("a = 1<|end_of_step|>",)
    assert TOOLS.split("") == ()
    assert TOOLS.prompt("q", TOOLS.split(response)).text == TOOLS.prompt("q").text + response


def test_the_answer_is_what_the_last_step_printed() -> None:
    assert TOOLS.answer("print(a)<|end_of_answer|>", " 12\n") == "12"
    assert TOOLS.answer("print(a)<|end_of_answer|>", "\n") is None


def test_a_step_that_the_length_limit_ended_is_cut() -> None:
    assert (TOOLS.read(Completion("a = 1", "", 9)).cut, TOOLS.read(Completion("a = 1", END_OF_STEP, 9)).cut) == (
        True,
        False,
    )
    assert TOOLS.read_whole(Completion("a = 1", "", 9)).cut
