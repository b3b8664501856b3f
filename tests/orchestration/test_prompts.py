"""Problems as a model is told them: template, special tokens, examples, earlier steps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestration.prompts import Shows, lines_of, shown
from perseid.artifacts import Store
from perseid.errors import UserError
from perseid.experiment import Experiment
from perseid.tables import frame
from tests.models.tiny import CHATML, checkpoint

ROWS = [{"id": f"q{n}", "question": f"What is {n} + 1?", "answer": n + 1} for n in range(6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model"), "llama", template=CHATML)


def experiment(tmp_path: Path, model: Path | str, **policy: Any) -> Experiment:
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    train = {"source": "jsonl", "path": str(tmp_path / "mine.jsonl"), "kind": "number", "columns": {"id": "id"}}
    own: Mapping[str, Any] = {
        "base": "pretrained",
        "from": str(model),
        "context": 256,
        "format": "code_steps",
        **policy,
    }
    return Experiment.model_validate(
        {
            "name": "mine",
            "recipe": "rejection",
            "problems": {"train": [train], "held_out": {"problems": 2}},
            "models": {"policy": own},
            "rounds": [{}],
        }
    )


def test_a_trained_model_is_told_the_question_alone_in_its_own_template(tmp_path: Path, model: Path) -> None:
    found, why = shown(experiment(tmp_path, model, chat_template="own"), Store(tmp_path), Shows(trained=True))
    assert why == ""
    assert len(found) == 3
    for one in found:
        number = int(one.gold) - 1
        assert one.problem_id == f"jsonl-q{number}"
        question = f"Question: What is {number} + 1?\nAnswer:\n"
        assert one.text == f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        assert one.tokens is not None
        assert 10 < one.tokens < len(one.text)


def test_an_untrained_base_is_shown_examples_and_without_a_template_the_messages_as_they_are(
    tmp_path: Path, model: Path
) -> None:
    [one], _ = shown(experiment(tmp_path, model), Store(tmp_path), Shows(count=1))
    assert one.text.startswith("Question: Tom has 14 marbles.")
    assert one.text.count("Question: ") == 5
    assert one.text.endswith(f"Question: What is {int(one.gold) - 1} + 1?\nAnswer:\n")
    assert "<|im_start|>" not in one.text


def test_one_that_is_named_may_be_held_out_and_one_that_is_not_there_comes_with_the_nearest(
    tmp_path: Path, model: Path
) -> None:
    mine = experiment(tmp_path, model)
    found = [shown(mine, Store(tmp_path), Shows(problem_id=f"jsonl-q{n}"))[0][0].gold for n in range(6)]
    assert found == [n + 1 for n in range(6)]
    with pytest.raises(UserError, match=r"mine: --problem: expected a problem .*did you mean jsonl-q1\?.*there are 6"):
        shown(mine, Store(tmp_path), Shows(problem_id="jsonl-q11"))


def test_a_later_step_stands_behind_those_of_a_trajectory(tmp_path: Path, model: Path) -> None:
    mine, store = experiment(tmp_path, model), Store(tmp_path / "root")
    wanted = Shows(problem_id="jsonl-q3", step=2, trained=True)
    with pytest.raises(UserError, match="--step: expected a trajectory of jsonl-q3 with 2 steps"):
        shown(mine, store, wanted)
    text = "# three and one\nx = 3 + 1\n# told\nprint(x)\x03"
    with store.draft("mine/round_01/samples/000") as draft:
        draft.table("texts", frame("texts", [("jsonl-q3", "0.1", text, "4\n", "")]))
        numbers = ("4", True, 1.0, 1.0, 2, 9, 1)
        draft.table("trajectories", frame("trajectories", [("a" * 16, "jsonl-q3", "0.1", *numbers)]))
        draft.publish("code", {})
    [one], _ = shown(mine, store, wanted)
    assert one.text.endswith("What is 3 + 1?\nAnswer:\n# three and one\nx = 3 + 1\n")


def test_where_the_base_cannot_be_opened_the_messages_are_shown_and_why(tmp_path: Path) -> None:
    found, why = shown(experiment(tmp_path, "org/nowhere"), Store(tmp_path), Shows(count=1, trained=True))
    assert [one.tokens for one in found] == [None]
    assert "org/nowhere" in why
    assert list(lines_of(found, why))[-1].startswith("Shown as the format makes it, without chat template and tokens: ")


def test_lines_that_two_prompts_share_are_shown_once(tmp_path: Path, model: Path) -> None:
    found, why = shown(experiment(tmp_path, model), Store(tmp_path), Shows(count=2))
    first, second = (line for line in lines_of(found, why) if "Question: What" in line)
    assert first.count("marbles") > 0
    assert second == f"… {first.count(chr(10)) - 2} lines as above …\nQuestion: {second.split('Question: ')[1]}"
