"""What small base models write around a step, and what is read of it."""

import ast
from pathlib import Path

import pytest

from perseid.engine import END, Completion, Message, Prompt
from perseid.formats import Draft, code_steps, format_of
from perseid.formats.code_steps import CodeSteps, Settings
from perseid.formats.telling import Shot, Told

TOLD = Told("Question: {{ question }}\nAnswer:\n", shots=(Shot("1 + 1?", "# add\nprint(1 + 1)"),))
CODE = CodeSteps(TOLD)
STEP, BLANK, QUESTION, END_OF_TEXT, CUT = "\n#", "\n\n", "\nQuestion:", END, ""


def test_a_prompt_is_the_question_and_examples_for_a_base_that_knows_nothing_of_the_format() -> None:
    assert CODE.prompt("2 * 3?").text == "Question: 2 * 3?\nAnswer:\n"
    assert CODE.prompt("2 * 3?", ("# multiply\n",), shots=True).text == (
        "Question: 1 + 1?\nAnswer:\n# add\nprint(1 + 1)\n\nQuestion: 2 * 3?\nAnswer:\n# multiply\n"
    )
    messages = (Message("user", "Question: 1 + 1?\nAnswer:\n"), Message("assistant", "# add\nprint(1 + 1)"))
    asked = Message("user", "Question: 2 * 3?\nAnswer:\n")
    assert CODE.prompt("2 * 3?", shots=True) == Prompt((*messages, asked))
    system = CodeSteps(Told(TOLD.template, "Write Python.", TOLD.shots))
    assert system.prompt("2 * 3?").text == "Write Python.\n\nQuestion: 2 * 3?\nAnswer:\n"


def test_a_step_is_comment_and_code_up_to_the_next_comment_which_is_asked_for_again() -> None:
    first = CODE.read(Completion("# read\na = 4", STEP, 9))
    assert first == Draft("# read\na = 4\n", "# read\na = 4", None, False, 9)
    last = CODE.read(Completion("# twice\nb = 2 * a", END_OF_TEXT, 7))
    assert last == Draft(f"# twice\nb = 2 * a{END}", "# twice\nb = 2 * a", None, True, 7)
    assert CODE.prompt("q", (first.text,)).text.endswith("a = 4\n")


@pytest.mark.parametrize("stop", [STEP, BLANK, QUESTION, END_OF_TEXT, CUT])
def test_the_first_line_that_prints_ends_the_answer_whatever_stopped_the_text(stop: str) -> None:
    for more in ("", "\n", "\n# check it\nassert a", "\nTom has 4.", "\nprint('done')"):
        draft = CODE.read_whole(Completion(f"a = 4\nprint(a){more}", stop, 9))
        assert draft == Draft(f"a = 4\nprint(a){END}", "a = 4\nprint(a)", None, True, 9)


def test_a_print_is_never_a_stop_string_that_would_swallow_it() -> None:
    """As `\\nprint(` was: every answer ended before it printed."""
    assert not any("print" in stop for stop in CODE.stops)
    with pytest.raises(ValueError, match="expected what stands in no program"):
        Settings(stop=("\n\n", "\nprint("))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\n# a\na = 1\n```", "# a\na = 1"),
        ("```\n# a\na = 1\n```\n", "# a\na = 1"),
        ("\n\n# a\na = 1", "# a\na = 1"),
        (" # a\n a = 1", "# a\na = 1"),
        (" # a\na = 1", "# a\na = 1"),
        ("# a\r\na = 1\r\n", "# a\na = 1"),
        ("# a\na = 1  \n\n", "# a\na = 1"),
        ("for i in range(3):\n    print(i)", "for i in range(3):\n    print(i)"),
        ("print(a)  # done\nand so on", "print(a)  # done"),
    ],
)
def test_what_stands_around_the_code_is_no_part_of_it(text: str, code: str) -> None:
    assert CODE.read_whole(Completion(text, END_OF_TEXT, 9)).program == code


@pytest.mark.parametrize(("text", "stop"), [("", STEP), ("\n", BLANK), ("a = 1", CUT), ("print(a", CUT), ("```", STEP)])
def test_a_sample_that_is_empty_or_cut_is_no_step(text: str, stop: str) -> None:
    draft = CODE.read(Completion(text, stop, 9))
    assert (draft.parsed, draft.cut) == (False, stop == CUT)


def test_what_a_model_makes_up_after_its_answer_is_no_part_of_it() -> None:
    """Engines that meet one stop string may return a text that holds another."""
    draft = CODE.read_whole(Completion("a = 4\n\nQuestion: more?", END_OF_TEXT, 9))
    assert (draft.program, draft.text) == ("a = 4", f"a = 4{END}")


def test_a_response_is_split_where_steps_begin_and_they_make_it_again() -> None:
    response = CODE.write(["# read\na = 4", "# twice\nb = 2 * a", "print(b)"])
    assert response == f"# read\na = 4\n# twice\nb = 2 * a\nprint(b){END}"
    assert CODE.split(response) == ("# read\na = 4\n", f"# twice\nb = 2 * a\nprint(b){END}")
    assert "".join(CODE.split(response)) == response
    assert CODE.code_of(response) == "# read\na = 4\n# twice\nb = 2 * a\nprint(b)"
    assert CODE.split("") == ()
    assert CODE.read_whole(Completion(response.removesuffix(END), END, 9)).steps == 2


def test_programs_are_the_same_but_for_comments_and_comments_alone_by_what_they_say() -> None:
    assert CODE.program_key("# x\na = 1") == CODE.program_key("# y\na = 1  # z")
    assert CODE.program_key("# x") != CODE.program_key("# y")


def test_the_answer_is_the_last_line_that_was_printed() -> None:
    assert CODE.answer("", "7\n 12 \n\n") == "12"
    assert CODE.answer("", "\n") is None
    boxed = CodeSteps(TOLD, rules=("boxed", "program"))
    assert boxed.answer("# \\boxed{5}\nprint(7)", "7\n") == "5"


def test_its_own_examples_are_programs_that_print_one_answer() -> None:
    own = format_of(Settings())
    assert isinstance(own, CodeSteps)
    assert len(own.told.shots) == 4
    for shot in own.told.shots:
        draft = own.read_whole(Completion(shot.response, BLANK, 1))
        assert draft.program == shot.response
        assert ast.parse(draft.program)
        assert all(step.startswith("#") for step in own.split(draft.text))


def test_all_that_decides_it_is_in_its_key(tmp_path: Path) -> None:
    template, shots = tmp_path / "t.j2", tmp_path / "s.yaml"
    template.write_text("Q: {{ question }}\n")
    shots.write_text("shots: [{question: one, response: print(1)}]\n")
    others = [
        Settings(template=str(template)),
        Settings(shots=str(shots)),
        Settings(system="Be brief."),
        Settings(stop=("\n\n",)),
        Settings(answer=("boxed", "program")),
    ]
    keys = {format_of(settings).key for settings in (Settings(), *others)}
    assert len(keys) == 1 + len(others)
    copy = tmp_path / "copy.j2"
    copy.write_text(Path(code_steps.__file__).with_suffix(".j2").read_text())
    assert format_of(Settings(template=str(copy))).key == format_of(Settings()).key
