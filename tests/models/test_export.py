"""An export stands alone: weights, tokenizer, template, licence and card, and nothing that points elsewhere."""

import json
from pathlib import Path

import pytest

from models.attempt import Attempt
from models.bases.pretrained import point
from models.export import export
from perseid.checkpoints import Pretrained
from perseid.errors import UserError
from tests.models.tiny import CHATML, checkpoint


@pytest.fixture
def pointer(tmp_path: Path) -> Path:
    base = checkpoint(tmp_path / "base", "llama", "fast", CHATML)
    (base / "LICENSE").write_text("as it is")
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    told = Pretrained.model_validate({"from": str(base), "context": 128, "chat_template": "own"})
    point(told, tmp_path / "pointer", Attempt(0, "x", "models.policy"))
    return tmp_path / "pointer"


def test_it_holds_all_that_another_program_reads(pointer: Path, tmp_path: Path) -> None:
    out = export(pointer, tmp_path / "new" / "out", "mine, round 3", {"greedy pass@1": "0.5 [0.4, 0.6]"})
    assert sorted(path.name for path in out.iterdir()) == [
        *("LICENSE", "README.md", "chat_template.jinja", "config.json", "generation_config.json"),
        *("model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    ]
    assert (out / "chat_template.jinja").read_text() == CHATML
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1
    card = (out / "README.md").read_text()
    assert card.splitlines()[:4] == [
        *("---", "library_name: transformers", "pipeline_tag: text-generation", "license: apache-2.0")
    ]
    for line in ("# mine, round 3", f"- base: {tmp_path / 'base'}", "- greedy pass@1: 0.5 [0.4, 0.6]"):
        assert line in card
    assert "trained with the chat template in this folder" in card


def test_what_was_trained_without_a_template_brings_none(pointer: Path, tmp_path: Path) -> None:
    told = json.loads((pointer / "base.json").read_text())
    (pointer / "base.json").write_text(json.dumps({**told, "template": ""}))
    out = export(pointer, tmp_path / "out", "mine", {})
    assert not (out / "chat_template.jinja").exists()
    assert "trained without a chat template" in (out / "README.md").read_text()


def test_what_is_there_is_kept(pointer: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="out: exists already; expected a new folder"):
        export(pointer, tmp_path / "out", "mine", {})


def test_an_export_that_fails_leaves_nothing(pointer: Path, tmp_path: Path) -> None:
    (tmp_path / "base" / "config.json").write_text("{}")
    with pytest.raises(UserError):
        export(pointer, tmp_path / "out", "mine", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "pointer"]
