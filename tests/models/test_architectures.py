"""Any model: of three architectures, in full and by LoRA, with and without a chat template, with a slow tokenizer too.

Trained for a few steps, asked by the embedded engine, exported, and asked by plain `transformers`: the same text.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models import served
from models.attempt import Attempt
from models.bases.pretrained import point
from models.checkpoint import weights_hash
from models.engines.transformers import TransformersEngine
from models.examples import Example, Pair
from models.export import export
from models.ppm import train_ppm
from models.scorer import PpmScorer
from models.sft import train_policy
from perseid.checkpoints import Lora, Pretrained
from perseid.engine import END, Generate, Prompt, Sampling
from perseid.engines import Transformers
from perseid.errors import UserError
from perseid.training import PpmTraining, SupervisedTraining
from tests.models.test_resuming import Killed, dies_at
from tests.models.tiny import CHATML, checkpoint

pytestmark = pytest.mark.slow

BASE = Attempt(0, "x/round_00/policy", "models.policy")
ATTEMPT = Attempt(0, "x/round_01/policy", "training.policy")
SETTINGS = SupervisedTraining(steps=48, batch=8, learning_rate=1e-2)
LORA = Lora(rank=4, alpha=8)
ONE_THREAD = Transformers(threads=1)
GREEDY = Sampling(temperature=0.0, max_tokens=24, stop=(END,))
EXAMPLES = [
    Example(Prompt.of(f"Question: {a} + {b}?\nAnswer:\n"), ("# add\n", f"x = {a} + {b}\n", f"print(x)\n{END}"))
    for a in range(5)
    for b in range(5)
]
PAIRS = [Pair(e.prompt, e.steps[:1], ("# no idea\n",), 0.5) for e in EXAMPLES]
KINDS = [
    *((architecture, "fast", "", lora) for architecture in ("llama", "qwen2", "gpt2") for lora in (None, LORA)),
    ("qwen2", "fast", CHATML, LORA),
    ("llama", "beginning", "", None),
    ("gpt2", "slow", CHATML, LORA),
]


def pointer(folder: Path, architecture: str, tokenizer: str = "fast", template: str = "", **more: object) -> Path:
    base = checkpoint(folder / "base", architecture, tokenizer, template)
    told = {"from": str(base), "context": 200, "chat_template": "own" if template else "none", **more}
    point(Pretrained.model_validate(told), folder / "pointer", BASE)
    return folder / "pointer"


def plainly(folder: Path, prompt: Prompt, template: str) -> str:
    """What `transformers` alone makes of the folder: its template, its defaults, greedy."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    text = prompt.text
    if template:
        told = [{"role": message.role, "content": message.content} for message in prompt.messages]
        text = tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
    given = tokenizer(text, return_tensors="pt", add_special_tokens=not template, return_token_type_ids=False)
    ids = given["input_ids"]
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
    text = str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=False))
    return text.split(tokenizer.eos_token)[0]


@pytest.mark.parametrize(("architecture", "tokenizer", "template", "lora"), KINDS)
def test_a_trained_policy_writes_what_plain_transformers_write_with_its_export(
    tmp_path: Path, architecture: str, tokenizer: str, template: str, lora: Lora | None
) -> None:
    start = pointer(tmp_path, architecture, tokenizer, template)
    trained = train_policy(EXAMPLES, start, SETTINGS, lora, tmp_path / "policy", ATTEMPT)
    assert trained.curve["loss"][-1] < trained.curve["loss"][0]
    kept = {path.name for path in (tmp_path / "policy").iterdir()}
    if lora:
        assert kept == {"adapter_config.json", "adapter_model.safetensors", "base.json"}
        assert "tmp" not in (tmp_path / "policy" / "adapter_config.json").read_text().replace(
            str(tmp_path / "base"), ""
        )
    assert "base.json" in kept
    engine = TransformersEngine(tmp_path / "policy", ONE_THREAD)
    found = engine.generate_now([Generate(e.prompt, 0, GREEDY) for e in EXAMPLES[:3]])
    assert len({c.text for c in found} - {""}) >= 1
    [by_mlflow] = served._load_pyfunc(str(tmp_path / "policy")).predict(EXAMPLES[0].prompt.text)
    assert isinstance(by_mlflow, str)
    out = export(tmp_path / "policy", tmp_path / "out", "a policy", {"round": "1"})
    for example, completion in zip(EXAMPLES[:3], found, strict=True):
        wanted = plainly(out, example.prompt, template)
        # A decoder of pieces with blanks drops the first one of a text that it is given without what is before it.
        assert completion.text.lstrip() == wanted.lstrip() if tokenizer == "beginning" else completion.text == wanted


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("lora", [None, LORA])
def test_a_ppm_of_any_base_learns_an_order_from_where_a_text_ends(
    tmp_path: Path, architecture: str, lora: Lora | None
) -> None:
    """Its pad token is what ends a text, and half of the texts end with it."""
    start = pointer(tmp_path, architecture)
    train_policy(EXAMPLES, start, SETTINGS, lora, tmp_path / "policy", ATTEMPT)
    pairs = PAIRS + [Pair(e.prompt, e.steps, (*e.steps[:2], f"print(0)\n{END}"), 0.5) for e in EXAMPLES]
    settings = PpmTraining(epochs=6, batch=10, learning_rate=1e-2)
    ppm = replace(ATTEMPT, artifact="x/round_01/ppm", section="training.ppm")
    curve, _ = train_ppm(pairs, tmp_path / "policy", settings, lora, tmp_path / "ppm", ppm)
    assert curve["loss"][-1] < 0.3
    scorer = PpmScorer(tmp_path / "ppm", ONE_THREAD)
    good = [pair.prompt._replace(steps=pair.chosen) for pair in pairs]
    bad = [pair.prompt._replace(steps=pair.rejected) for pair in pairs]
    scores = scorer.score_now([*good, *bad])
    right = [a > b for a, b in zip(scores[: len(good)], scores[len(good) :], strict=True)]
    assert sum(right) > 0.9 * len(right)
    assert scorer.score_now(good[:1]) == pytest.approx(scores[:1], abs=1e-5)
    by_mlflow = served._load_pyfunc(str(tmp_path / "ppm")).predict([good[0].text])
    assert by_mlflow == pytest.approx(scores[:1], abs=1e-4)


def test_an_untrained_ppm_of_an_adapter_is_opened_by_nobody(tmp_path: Path) -> None:
    start = pointer(tmp_path, "llama")
    train_policy(EXAMPLES, start, SETTINGS, LORA, tmp_path / "policy", ATTEMPT)
    train_ppm([], tmp_path / "policy", PpmTraining(), LORA, tmp_path / "ppm", ATTEMPT)
    with pytest.raises(UserError, match="expected a PPM that was trained"):
        PpmScorer(tmp_path / "ppm", ONE_THREAD)


def test_a_training_of_adapters_killed_twice_ends_as_one_that_was_not(tmp_path: Path) -> None:
    start = pointer(tmp_path, "qwen2")
    settings = SupervisedTraining(steps=40, batch=8, learning_rate=1e-2)
    lora = Lora(rank=4, alpha=8, dropout=0.1)
    whole, _ = train_policy(EXAMPLES, start, settings, lora, tmp_path / "whole", ATTEMPT)
    for step in (17, 33):
        with pytest.raises(Killed):
            train_policy(EXAMPLES, start, settings, lora, tmp_path / "out", dies_at(step, tmp_path / "state"))
    last = replace(ATTEMPT, state=tmp_path / "state")
    curve, _ = train_policy(EXAMPLES, start, settings, lora, tmp_path / "out", last)
    assert curve.rows() == whole.rows()
    assert weights_hash(tmp_path / "out") == weights_hash(tmp_path / "whole")


def test_a_batch_in_parts_is_the_same_batch(tmp_path: Path) -> None:
    start = pointer(tmp_path, "llama")
    few = SupervisedTraining(steps=4, batch=8, learning_rate=1e-3, warm_up=0.0)
    losses = [
        train_policy(EXAMPLES, start, few.model_copy(update=more), None, tmp_path / str(i), ATTEMPT).curve["loss"][-1]
        for i, more in enumerate([{}, {"accumulation": 4}, {"checkpointing": True}])
    ]
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-3)


def test_what_is_computed_in_half_precision_learns_as_well_and_weights_are_held_as_they_were(tmp_path: Path) -> None:
    start = pointer(tmp_path, "llama", dtype="bfloat16")
    settings = SETTINGS.model_copy(update={"precision": "bfloat16", "epochs": 6})
    for lora in (None, LORA):
        out = tmp_path / f"policy {lora is None}"
        curve, _ = train_policy(EXAMPLES, start, settings, lora, out, ATTEMPT)
        assert (curve["step"][-1], curve["loss"][-1] < curve["loss"][0]) == (20, True)
        engine = TransformersEngine(out, Transformers(threads=1, dtype="bfloat16"))
        assert engine.model.dtype == torch.bfloat16
        assert engine.generate_now([Generate(EXAMPLES[0].prompt, 0, GREEDY)])[0].num_tokens > 0


def test_layers_that_are_not_there_cannot_be_adapted(tmp_path: Path) -> None:
    start = pointer(tmp_path, "gpt2")
    with pytest.raises(UserError, match=r"models\.policy\.lora\.targets: expected names of its layers"):
        train_policy(EXAMPLES, start, SETTINGS, Lora(targets=("q_proj",)), tmp_path / "policy", ATTEMPT)
    with pytest.raises(UserError, match=r"lora\.targets: expected layers below the head"):
        train_policy(EXAMPLES, start, SETTINGS, Lora(targets=("lm_head",)), tmp_path / "policy", ATTEMPT)


def test_what_a_model_says_of_its_tokens_outlives_its_training(tmp_path: Path) -> None:
    """A chat model may end at any of several tokens; a trainer would leave the tokenizer's alone."""
    start = pointer(tmp_path, "llama", template=CHATML)
    path = tmp_path / "base" / "generation_config.json"
    many: dict[str, Any] = json.loads(path.read_text()) | {"eos_token_id": [2, 0], "pad_token_id": 0}
    path.write_text(json.dumps(many))
    told = Pretrained.model_validate({"from": str(tmp_path / "base"), "context": 200, "chat_template": "own"})
    point(told, start, BASE)
    train_policy(EXAMPLES, start, SETTINGS, None, tmp_path / "policy", ATTEMPT)
    assert json.loads((tmp_path / "policy" / "generation_config.json").read_text())["eos_token_id"] == [2, 0]
    assert TransformersEngine(tmp_path / "policy", ONE_THREAD).renderer.ends == (2, 0)
