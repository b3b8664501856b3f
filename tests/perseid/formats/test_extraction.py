"""Answers found by named rules; each by hand."""

import time
from typing import Any

import pytest
from pydantic import ValidationError

from perseid.formats.extraction import IN_TEXT, MAX_LENGTH, After, Rules, extract, rules_of
from perseid.mistakes import described
from perseid.section import Section, canonical

ALL = rules_of(["boxed", "answer_tag", {"after": "####"}, "json", "the_answer_is", "last_formula"])


@pytest.mark.parametrize(
    ("rule", "text", "answer"),
    [
        ("boxed", r"Thus \boxed{\frac{\sqrt{x^{2}}}{5}} holds", r"\frac{\sqrt{x^{2}}}{5}"),
        ("boxed", r"First \boxed{8}. No: \fbox{9}.", "9"),
        ("boxed", r"I shall fill \boxed{}: \boxed{11}. Nothing else in \boxed{ }", "11"),
        ("boxed", r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        ("boxed", r"\boxed{\text{Tuesday}}.", "Tuesday"),
        ("boxed", r"$x = \boxed{2}$ and $\boxed{-3}$.", "2, -3"),
        ("boxed", r"\boxed{2}, which gives \boxed{6}", "6"),
        ("boxed", r"\boxed{4}, no, \boxed{5", None),
        ("boxed", "no box", None),
        ("answer_tag", "<answer>1</answer> <answer> **2** </answer>", "2"),
        ("answer_tag", "<answer>1", None),
        ("the_answer_is", "So the answer is 12. Or rather: the answer is 13.", "13"),
        ("the_answer_is", "The answer is 3.25.", "3.25"),
        ("the_answer_is", "The answer is $18. Then $5 more.", "$18"),
        ("the_answer_is", "The final answer is: $\\boxed{7}$. I hope it helps!", "7"),
        ("the_answer_is", "**Final answer:** **42**", "42"),
        ("the_answer_is", "## Answer\n\n$$\n\\frac{1}{2}\n$$\nDone.", r"\frac{1}{2}"),
        ("the_answer_is", "Answer = (B) because it is larger", "(B)"),
        ("the_answer_is", "The answer is 5, not 6.", "5"),
        ("the_answer_is", "The answer is therefore $x = 1.5$ metres. Good.", "$x = 1.5$ metres"),
        ("the_answer_is", "The answer is not 5.", None),
        ("the_answer_is", "The answer isn't 5.", None),
        ("the_answer_is", "The answer is unknown", None),
        (After(after="####"), "6 * 2 = 12\n#### 11\n#### 12 \nbye", "12"),
        (After(after="####"), "#### 2,125", "2,125"),
        (After(after="####"), "####\n\n 7", "7"),
        (After(after="####"), "#### ", None),
        ("json", 'x = {1} {"answer": "a"} {"answer": 2.5, "of": {"answer": 3}} {"other": 1}', "2.5"),
        ("json", '{"answer": true}', "true"),
        ("json", '{"answer": [1]}', None),
        ("code", "```\nfirst\n```\n```python\ndef f():\n    return 1\n```\nexplained", "def f():\n    return 1"),
        ("code", "```python\nopen", None),
        ("last_number", "so 3 times $1,250.50 is enough.", "1250.50"),
        ("last_number", "it is 1/2.", "1/2"),
        ("last_number", "5-3", "3"),
        ("last_number", "x = −7", "-7"),
        ("last_number", "version v2 of 1e5", None),
        ("last_letter", "It is not A. We choose (C).", "C"),
        ("last_letter", "B. the second one", "B"),
        ("last_letter", "Both (A), (B), and (D) hold", "A, B, D"),
        ("last_letter", "So B, not C.", "B"),
        ("last_letter", "A or B", None),
        ("last_letter", "I know f(A) for A > 0 and nothing else", None),
        ("last_line", "first\n*last*\n\n", "last"),
        ("last_formula", "so\n\n**Paris**", "Paris"),
        ("last_formula", r"so" + "\n" + r"x = \frac{3}{4} \text{ cm}", r"x = \frac{3}{4} \text{ cm}"),
        ("last_formula", "Paris is nice", None),
        ("program", "print(1)", "41"),
    ],
)
def test_a_rule_finds_what_it_says(rule: Any, text: str, answer: str | None) -> None:
    assert extract(text, (rule,), printed="41\n") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>It is \\boxed{3}.</think>It is \\boxed{4}.", "4"),
        ("first \\boxed{3}</think>**Answer: 4**", "4"),
        ("<think>It is \\boxed{3}.", None),
        ("<|channel|>analysis<|message|>\\boxed{1}<|channel|>final<|message|>\\boxed{2}", "2"),
        ("<|channel|>analysis<|message|>\\boxed{1}", None),
        ("It is \\boxed{5}.\n\nProblem: and 6 + 6?\nIt is \\boxed{12}.", "5"),
        ("#### 6\n\nQuestion 2: more?\n#### 8", "6"),
        ("#### 6\n\n### Problem 2\n\n#### 8", "6"),
        ("#### 6<|im_end|>\n<|im_start|>user\n#### 7", "6"),
        ("Question: what is asked?\n#### 6", "6"),
        ("a step\x03#### 6\x03", "6"),
        (r"\boxed{3}, so the answer is 7.", "3"),
        ("4 + 5 = 9\r\n\r\n**9**\r\n", "9"),
        ("\n \n", None),
        ("It is hard to say.", None),
    ],
)
def test_of_a_text_only_what_answers_this_question_counts(text: str, answer: str | None) -> None:
    assert extract(text, ALL) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"It is \boxed{12}. To check", "12"),
        (r"It is \boxed{12", None),
        ("<answer>12</answer> To", "12"),
        ("#### 12", None),
        ("#### 12\nThat", "12"),
        ("The answer is 12", None),
        ("The answer is 12.", None),
        ("The answer is 12. To", "12"),
        ('{"answer": 12', None),
        ("x\n12", None),
        ("The answer is 12\n\nQuestion: and", "12"),
    ],
)
def test_a_text_that_was_cut_counts_where_the_answer_s_mark_is_closed(text: str, answer: str | None) -> None:
    assert extract(text, ALL, cut=True) == answer


@pytest.mark.parametrize("rule", ["last_number", "last_letter", "last_line", "last_formula", "program"])
def test_what_has_no_mark_is_no_answer_of_a_text_that_was_cut(rule: str) -> None:
    assert extract("B\n5\n(B) 5\n5", (rule,), cut=True, printed="5") is None


def test_rules_are_tried_in_order() -> None:
    assert extract("5 then 6", rules_of(["boxed", "last_number"])) == "6"
    assert extract("\\boxed{5} then 6", rules_of(["boxed", "last_number"])) == "5"
    assert extract("5 then 6", rules_of("boxed")) is None


class Finding(Section):
    answer: Rules = ("boxed",)


@pytest.mark.parametrize(
    ("rules", "mistake"),
    [
        ("boxes", "answer: 'boxes' is not known (did you mean boxed?); expected one of program, boxed, answer_tag"),
        (["boxed", "last"], "answer.2: 'last' is not known"),
        ([], "answer: expected at least one rule of program, boxed"),
        ([5], "answer.1: expected one of program, boxed"),
        ({"after": ""}, "answer: expected one of program, boxed"),
        ({"before": "x"}, "answer: expected one of program, boxed"),
    ],
)
def test_a_rule_that_is_none_is_said_with_its_place(rules: Any, mistake: str) -> None:
    with pytest.raises(ValidationError) as found:
        Finding.model_validate({"answer": rules})
    assert ": ".join(described(found.value, Finding)).startswith(mistake)


def test_rules_of_a_file_are_read_and_written() -> None:
    found = Finding.model_validate({"answer": [{"after": "####"}, "last_number"]})
    assert found.answer == (After(after="####"), "last_number")
    assert canonical(found) == {"answer": [{"after": "####"}, "last_number"]}
    assert Finding.model_validate(found.model_dump()) == found


UNITS = [
    "{",
    "}",
    "$",
    "$1 ",
    "\\boxed{",
    "\\boxed{1},",
    "answer is ",
    "A, ",
    "not A. ",
    "```a\n",
    "<answer>",
    '{"answer":',
    "[{",
]
UNITS += [
    "1,",
    "-",
    "****",
    "\\",
    "Question:",
    "<think>",
    "####",
    "\n",
    " ",
    "a.",
    "\\text{",
    "answer is {",
    "(A) and ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_takes_long(unit: str) -> None:
    started = time.process_time()
    for rule in (*IN_TEXT, After(after="#")):
        extract("the answer is " + unit * (MAX_LENGTH // 4 // len(unit)), (rule,))
    assert time.process_time() - started < 5.0
    assert extract(unit * MAX_LENGTH + "\\boxed{1}", ALL) is None
