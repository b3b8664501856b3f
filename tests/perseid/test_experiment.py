"""Reading an experiment file: what is kept, and that every mistake is named."""
# ruff: noqa: E501  (a mistake is a line)

from pathlib import Path

import pytest

from perseid.document import read
from perseid.errors import UserError
from perseid.experiment import Experiment, PolicyTraining, Training, load_experiment
from perseid.methods import flat, rstar_math
from perseid.problems.sources.tools import Pool
from perseid.section import canonical

SMALL = """
name: small
problems: {train: [{source: tools, demonstrated: [gcd], undemonstrated: [lcm]}], pool: {}}
method: {rollouts: 4}
rounds:
  - {}
  - {method: {ppm: true}, training: {policy: {steps: 7}}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def test_a_round_lays_its_overrides_over_the_experiment(tmp_path: Path) -> None:
    e = load_experiment(written(tmp_path, SMALL))
    assert (e.at(1).method.ppm, e.at(2).method.ppm) == (False, True)
    assert (e.at(1).method.rollouts, e.at(2).method.rollouts) == (4, 4)
    assert e.at(2).training.policy == e.training.policy.model_copy(update={"steps": 7})


def test_at_a_round_the_sections_are_as_that_round_sees_them(tmp_path: Path) -> None:
    e = load_experiment(written(tmp_path, SMALL.replace("- {}", "- {pool: {composed: 1}, selection: {top: 3}}")))
    assert e.at(0) == e
    first, second = e.at(1), e.at(2)
    assert (first.problems.pool, second.problems.pool) == (Pool(composed=1), Pool())
    assert (first.method, second.method) == (e.method, e.method.model_copy(update={"ppm": True}))
    assert (first.selection.top, second.selection.top) == (3, e.selection.top)
    assert second.training == Training(policy=PolicyTraining(steps=7))
    assert first.problems.train == e.problems.train
    with pytest.raises(IndexError):
        e.at(3)


def test_a_round_may_grow_its_trees_by_another_method(tmp_path: Path) -> None:
    e = load_experiment(written(tmp_path, SMALL.replace("- {}", "- {method: {kind: flat, max_tokens: 200}}")))
    assert e.at(1).method == flat.Settings(max_tokens=200)
    assert e.at(2).method == rstar_math.Settings(rollouts=4, ppm=True)
    shorthand = load_experiment(
        written(tmp_path, SMALL.replace("- {}", "- {method: flat, training: {policy: {steps: 3}}}"))
    )
    assert shorthand.at(1).method == flat.Settings()


@pytest.mark.parametrize("rounds", [[{}], [{"method": {"rollouts": 2}}]])
def test_what_only_changes_how_the_work_is_done_is_no_part_of_the_canonical_form(rounds: list[dict]) -> None:
    problems = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}

    def of(engine: dict, **more: object) -> object:
        e = Experiment.model_validate({"name": "x", "problems": problems, "engine": engine, "rounds": rounds, **more})
        return canonical(e.at(1).engine), canonical(e).keys()

    assert of({}) == of({"live_trees": 1}, description="words")
    assert of({})[0] == {"kind": "transformers"}
    assert of({"batch": 8, "threads": 1})[0] == {"kind": "transformers", "batch": 8, "threads": 1}
    vllm = {"kind": "vllm", "batch": 8, "threads": 1, "memory_gib": 1.0, "memory_share": 0.5, "live_trees": 1}
    assert of(vllm)[0] == {"kind": "vllm"}
    here = {"kind": "server", "endpoints": ["http://a:1/v1"]}
    there = {"kind": "server", "endpoints": ["http://b:2/v1"], "timeout_s": 1.0, "patience_s": 0.0, "batch": 3}
    assert of(here) == of(there)
    assert of({**here, "model": "mine"})[0] == {"kind": "server", "model": "mine"}


def test_overrides_of_the_command_line_win(tmp_path: Path) -> None:
    assert load_experiment(written(tmp_path, SMALL), {"seed": 5, "method": {"candidates": 3}}).method.rollouts == 4


FAMILIES_THERE_ARE = "products, gcd, chain_sum, "
SECTIONS = "name, description, seed, recipe, method, problems, models, engine, selection, training, graders, evaluation"
METHOD_KEYS = "kind, temperature, top_p, top_k, min_p, repetition_penalty, ppm, limit_tokens"
NO_PPM_YET = "has no effect: round 1 trains the first PPM"
MISTAKES = [
    ("method: {rollouts: 4}", "method: {rolouts: 4}", "method.rolouts: there is no such key (did you mean rollouts?); expected one of " + METHOD_KEYS),
    ("method: {rollouts: 4}", "methd: {rollouts: 4}", "methd: there is no such key (did you mean method?); expected one of " + SECTIONS),
    ("method: {rollouts: 4}", "method: {zzz: 4}", "method.zzz: there is no such key; expected one of " + METHOD_KEYS),
    ("demonstrated: [gcd], ", "demonstratd: [gcd], ", "problems.train.1.demonstratd: there is no such key (did you mean demonstrated?); expected one of source"),
    ("demonstrated: [gcd], ", "", "problems.train.1.demonstrated: expected a list; it is missing"),
    ("name: small", "", "name: expected text; it is missing"),
    ("steps: 7", "stps: 7", "rounds.2.training.policy.stps: there is no such key (did you mean steps?); expected one of batch, learning_rate"),
    ("{method: {ppm: true}, ", "{methd: {ppm: true}, ", "rounds.2.methd: there is no such key (did you mean method?); expected one of pool, method"),
    ("ppm: true}", "ppm: 3}", "rounds.2.method.ppm: expected true or false, found 3"),
    ("ppm: true}", "ppm: yes}", "rounds.2.method.ppm: expected true or false, found 'yes'"),
    ("- {}", "- ", "rounds.1: expected keys and their values, found nothing"),
    ("- {}", "- {method: 3}", "rounds.1.method: expected keys and their values, found 3"),
    ("- {}", "- {method: {ppm: true}}", "rounds.1.method.ppm: " + NO_PPM_YET),
    ("- {}", "- {training: {bootstrap: {steps: 3}}}", "rounds.1.training.bootstrap: has no effect: it is round 0's"),
    ("- {}", "- {selection: {pairs: {margin: 3}}}", "rounds.1.selection.pairs.margin: expected a number in [0, 2], found 3"),
    ("- {}", "- {pool: {demonstrated: 0, undemonstrated: 0}}", "rounds.1.pool: expected questions to search in round 1, found none"),
    ("- {}", "- {method: {max_step_tokens: 300}}", "rounds.1.method.max_step_tokens: expected less than models.policy.context, 256, found 300"),
    ("rollouts: 4", "rollouts: four", "method.rollouts: expected a whole number in [1, 100000], found 'four'"),
    ("rollouts: 4", "rollouts: '4'", "method.rollouts: expected a whole number in [1, 100000], found '4'"),
    ("rollouts: 4", "rollouts: true", "method.rollouts: expected a whole number in [1, 100000], found true"),
    ("rollouts: 4", "rollouts: 1e24", "method.rollouts: expected a whole number in [1, 100000], found 1e+24"),
    ("rollouts: 4", "rollouts: 4.0", "method.rollouts: expected a whole number in [1, 100000], found 4.0"),
    ("rollouts: 4", "rollouts: 0", "method.rollouts: expected a whole number in [1, 100000], found 0"),
    ("rollouts: 4", "rollouts: .nan", "method.rollouts: expected a whole number in [1, 100000], found nan"),
    ("rollouts: 4", "rollouts: ", "method.rollouts: expected a whole number in [1, 100000], found nothing"),
    ("rollouts: 4", "rollouts: 0x" + "f" * 500, "method.rollouts: expected a whole number in [1, 100000], found a number of 2000 bits"),
    ("rollouts: 4", "exploration: .inf", "method.exploration: expected a number in [0, 1000], found inf"),
    ("rollouts: 4", "temperature: 0", "method.temperature: expected a number in [0.01, 100], found 0"),
    ("rollouts: 4", "tie: frist", "method.tie: 'frist' is not known (did you mean first?); expected one of first, random"),
    ("name: small", "name: small\nseed: 12345678901234567890123", "seed: expected a whole number in [0, 9223372036854775807], found 12345678901234567890123"),
    ("name: small", "name: small\nshards: 0", "shards: expected a whole number in [1, 1000], found 0"),
    ("name: small", "name: small\nshards: 30", "shards: expected at most 26, the questions of round 1: a shard would search nothing"),
    ("method: {rollouts: 4}", "method: mcts", "method.kind: 'mcts' is not known; expected one of flat, rstar_math"),
    ("method: {rollouts: 4}", "method: {kind: rstar}", "method.kind: 'rstar' is not known (did you mean rstar_math?); expected one of"),
    ("method: {rollouts: 4}", "method: {kind: flat, rollouts: 4}", "method.rollouts: has no effect here; it is a key of kind rstar_math alone"),
    ("- {}", "- {method: {kind: mcts}}", "rounds.1.method.kind: 'mcts' is not known; expected one of flat, rstar_math"),
    ("- {}", "- {method: {kind: flat, rollouts: 2}}", "rounds.1.method.rollouts: has no effect here; it is a key of kind rstar_math alone"),
    ("- {}", "- {method: {kind: flat, max_tokens: 300}}", "rounds.1.method.max_tokens: expected less than models.policy.context, 256, found 300"),
    ("name: small", "name: small\nengine: {threads: 100000}", "engine.threads: expected a whole number in [1, 1024], found 100000"),
    ("name: small", "name: small\nengine: {kind: vlm}", "engine.kind: 'vlm' is not known (did you mean vllm?); expected one of transformers, vllm, server"),
    ("name: small", "name: small\nengine: 3", "engine: expected keys and their values, found 3"),
    ("name: small", "name: small\nengine: {endpoints: []}", "engine.endpoints: has no effect here; it is a key of kind server alone"),
    ("name: small", "name: small\nengine: {kind: server, dtype: float32}", "engine.dtype: has no effect here; it is a key of kind transformers and vllm alone"),
    ("name: small", "name: small\nengine: {kind: server, endpoints: []}", "engine.endpoints: expected a list of at least 1, found none"),
    ("name: small", "name: small\nengine: {kind: server, endpoints: [foo]}", "engine.endpoints.1: expected a URL like http://127.0.0.1:8000/v1"),
    ("name: small", "name: small\nengine: {kind: server, endpoints: http://me:sesame@h}", "engine.endpoints: expected a list, found an address"),
    ("name: small", "name: small\nengine: {kind: server, endpoint: http://me:sesame@h}", "engine.endpoint: there is no such key (did you mean endpoints?)"),
    ("name: small", "name: small\nmodels: {policy: {hidden_size: 65, heads: 2}}", "models.policy.hidden_size: expected a multiple of 4, twice the heads (rotary embeddings are pairs), found 65"),
    ("name: small", "name: small\nmodels: {policy: {hidden_size: 66, heads: 2}}", "models.policy.hidden_size: expected a multiple of 4"),
    ("name: small", "name: small\nmodels: {policy: {hidden_size: 8192}}", "models.policy.hidden_size: expected at most 1,000,000,000 parameters"),
    ("name: small", "name: small\nmodels: {policy: {context: 8}}", "models.policy.context: expected a whole number in [16, 8192], found 8"),
    ("name: small", "name: small\nmodels: {policy: {context: 16}}", "method.max_step_tokens: expected less than models.policy.context, 16, found 16"),
    ("name: small", "name: small\nmodels: {policy: {vocab_size: 3}}", "models.policy.vocab_size: expected a whole number in [264, 65536], found 3"),
    ("name: small", "name: small\nmodels: {policy: {base: pretraind}}", "models.policy.base: 'pretraind' is not known (did you mean pretrained?)"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained}}", "models.policy.from: expected text; it is missing"),
    ("name: small", "name: small\nmodels: {policy: {from: a/b}}", "models.policy.from: has no effect here; it is a key of base pretrained alone"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained, from: a/b, heads: 2}}", "models.policy.heads: has no effect here; it is a key of base tiny_llama alone"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained, from: http://me:sesame@h}}", "models.policy.from: expected a folder, or a name of the hub like"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained, from: a/b, revision: a b}}", "models.policy.revision: expected a branch, tag or commit"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained, from: a/b, dtype: int8}}", "models.policy.dtype: 'int8' is not known; expected one of float32, bfloat16, float16"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained, from: a/b, chat_template: ''}}", "models.policy.chat_template: expected none, own or a file with a Jinja template"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained, from: a/b, chat_template: owns}}", "models.policy.chat_template: expected none, own or a file with a Jinja template, found owns; there is no such file"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained, from: a/b, lora: {rank: 0}}}", "models.policy.lora.rank: expected a whole number in [1, 4096], found 0"),
    ("name: small", "name: small\nengine: {kind: vllm}\nmodels: {policy: {base: pretrained, from: a/b, lora: {rank: 513}}}", "models.policy.lora.rank: expected at most 512 where the engine is vllm, found 513"),
    ("name: small", "name: small\ntraining: {policy: {batch: 10, accumulation: 4}}", "training.policy.accumulation: expected a divisor of batch, 10, found 4"),
    ("name: small", "name: small\ncontrol: {kind: none}", "control.kind: 'none' is not known; expected one of demonstrations_only"),
    ("[gcd]", "[gdc]", "problems.train.1.demonstrated.1: 'gdc' is not known (did you mean gcd?); expected one of " + FAMILIES_THERE_ARE),
    ("[lcm]", "[lcm, to_binary, lcm]", "problems.train.1.undemonstrated.3: expected each name once, found lcm as undemonstrated.1 too"),
    ("[lcm]", "[lcm, gcd]", "problems.train.1.undemonstrated.2: expected each name once, found gcd as demonstrated.1 too"),
    ("[gcd], undemonstrated: [lcm]", "[], undemonstrated: []", "problems.train.1.undemonstrated: expected at least one family of products"),
    ("[lcm]", "[lcm], demonstrated_compositions: [duble]", "problems.train.1.demonstrated_compositions.1: 'duble' is not known (did you mean double?)"),
    ("[lcm]", "[to_binary], demonstrated_compositions: [double]", "problems.train.1.demonstrated_compositions.1: has no effect: no family here"),
    ("pool: {}", "pool: {demonstrated: 0, undemonstrated: 0}", "problems.pool: expected questions to search in round 1, found none"),
    ("[lcm]", "[lcm], demonstrations: 0, explorations: 0, drills: 0", "problems.train.1.drills: expected demonstrations, explorations or drills"),
    ("[lcm]}], pool: {}", "[weekday]}], pool: {undemonstrated: 2500}", "problems.pool.undemonstrated: expected at most 365 questions of weekday, which has no more"),
    ("pool: {}", "pool: {problems: 3}", "problems.pool.problems: there is no such key; expected one of demonstrated, undemonstrated, composed"),
    ("pool: {}", "pool: 3", "problems.pool: expected keys and their values, found 3"),
    ("source: tools", "source: tool", "problems.train.1.source: 'tool' is not known (did you mean tools?); expected one of "),
    ("source: tools, ", "", "problems.train.1.source: expected one of "),
    ("source: tools", "source: 3", "problems.train.1.source: expected one of "),
    ("[{source: tools, demonstrated: [gcd], undemonstrated: [lcm]}]", "[]", "problems.train: expected a list of at least 1, found none"),
    ("[{source: tools, demonstrated: [gcd], undemonstrated: [lcm]}]", "[3]", "problems.train.1: expected a source, a mapping with the key source, found 3"),
    ("[{source: tools, demonstrated: [gcd], undemonstrated: [lcm]}]", "{source: tools}", "problems.train: expected a list, found keys"),
    ("[lcm]}]", "[lcm]}, {source: tools, demonstrated: [gcd], undemonstrated: [lcm]}]", "problems.train.1: expected tools alone: it draws itself what a round searches"),
    ("name: small", "name: small\ngraders: {near: {python: tests/fuzz/nowhere.py}}", "graders.near.python: expected a Python file; "),
    ("name: small", "name: small\ngraders: {near: {python: README.md}}", "graders.near.python: expected Python, found "),
    ("name: small", "name: small\ngraders: {near: {pyton: tests/fuzz/near.py}}", "graders.near.pyton: there is no such key (did you mean python?)"),
    ("name: small", "name: small\ngraders: {near: {python: tests/fuzz/near.py, timeout_s: 0}}", "graders.near.timeout_s: expected a number in [0.01, 86400], found 0"),
    ("name: small", "name: small\ngraders: {number: {python: tests/fuzz/near.py}}", "graders.number: expected a name of its own"),
    ("name: small", "name: small\ngraders: {a-b: {python: tests/fuzz/near.py}}", "graders.a-b: expected a name of letters, digits and _"),
    ("name: small", "name: small\ngraders: {near: 3}", "graders.near: expected keys and their values, found 3"),
    ("[{source: tools, demonstrated: [gcd], undemonstrated: [lcm]}], pool: {}", "[{source: jsonl, path: tests/fuzz/sums.jsonl, kind: numbr}], held_out: {problems: 2}", "problems.train.1.kind: 'numbr' is not known (did you mean number?); expected one of number, decimal"),
    ("name: small", "name: small\nmodels: {policy: {base: pretrained, from: a/b, lora: {ranks: 8}}}", "models.policy.lora.ranks: there is no such key (did you mean rank?); expected one of rank"),
    ("name: small", "name: current", "name: expected another name: current"),
    ("name: small", "name: abcdef0123456789", "name: expected another name: sixteen hex digits"),
    ("name: small", "name: a__round_01", "name: expected no two _ in a row"),
    ("name: small", "name: Small One", "name: expected small letters, digits and _, a letter first, at most 63"),
    ("name: small", "name: ../up", "name: expected small letters, digits and _, a letter first, at most 63"),
    ("name: small", "name: " + "x" * 64, "name: expected small letters, digits and _, a letter first, at most 63"),
    ("name: small", "name: true", "name: expected text, found true"),
    ("name: small", "name: small\nmethod: {}", "method: expected once, found in line 3 and again in line 5"),
    ("name: small", 'name: small\n"\\e[31m": 1', "\\x1b[31m: there is no such key"),
    (SMALL[SMALL.index("rounds:"):], "rounds: []", "rounds: expected a list of at least 1, found none"),
    (SMALL[SMALL.index("rounds:"):], "rounds: {}", "rounds: expected a list, found keys"),
    (SMALL[SMALL.index("rounds:"):], "rounds: [" + "{}," * 100 + "]", "rounds: expected a list of at most 99, found 100"),
    (SMALL[SMALL.index("rounds:"):], "rounds: [{}]\nselection: {top: 2}\nmethod2: 1", "method2: there is no such key (did you mean method?)"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_the_file_the_key_as_one_counts_and_what_was_expected(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in SMALL
    path = written(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_experiment(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert str(caught.value).isprintable()
    assert "sesame" not in str(caught.value)


def test_an_override_of_the_command_line_is_held_to_the_same_range(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"small\.yaml: seed: expected a whole number in .*, found 10{23}"):
        load_experiment(written(tmp_path, SMALL), {"seed": 10**23})


def test_a_key_that_no_header_can_carry_is_refused_with_the_file_that_needs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSEID_API_KEY", "sesame\nX: 1")
    load_experiment(written(tmp_path, SMALL))
    with pytest.raises(UserError, match="PERSEID_API_KEY: expected a key") as caught:
        load_experiment(written(tmp_path, SMALL + "engine: {kind: server, endpoints: [http://h/v1]}\n"))
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("rollouts: 4", "ppm: true", "method.ppm: has no effect in round 1, which trains the first PPM"),
        (
            "[lcm]",
            "[lcm], held_out_composed: 4",
            "problems.train.1.held_out_composed: has no effect without compositions",
        ),
        ("pool: {}", "pool: {composed: 3}", "problems.pool.composed: has no effect without compositions"),
        (
            "name: small",
            "name: small\nevaluation: {mcts_problems: 0, mcts_rollouts: 3}",
            "evaluation.mcts_rollouts: has no effect while evaluation.mcts_problems is 0",
        ),
    ],
)
def test_what_is_legal_and_has_no_effect_is_a_warning_of_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str, new: str, warning: str
) -> None:
    path = written(tmp_path, SMALL.replace(old, new, 1))
    load_experiment(path)
    assert caplog.messages == [f"{path}: {warning}"]


def test_an_experiment_without_mistakes_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_experiment(written(tmp_path, SMALL))
    assert caplog.messages == []


@pytest.mark.parametrize("path", sorted(Path("experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_of_the_repository_is_valid_and_named_as_its_file(path: Path) -> None:
    """Those whose problems are brought are read with them in tests/experiments."""
    assert Experiment.model_validate(read(path)).name == path.stem
