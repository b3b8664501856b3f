"""`prompt`: problems as a model is told them, token for token, and the golds that graders see.

What is shown is what engines get: the format's messages in the chat template of the experiment's base, special tokens
included. A base that was never trained on the format is shown its worked examples; what is trained is not. Where the
base cannot be opened (a name of the hub, and no hub) its messages are shown as the format makes them.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets.gate import policy_of
from assets.graph import unroll
from perseid.artifacts import Store
from perseid.checkpoints import Pretrained
from perseid.engine import Prompt
from perseid.errors import UserError
from perseid.experiment import Experiment
from perseid.formats import Format, format_of
from perseid.mistakes import nearest
from perseid.problems import Item
from perseid.problems.making import Before, drawn, first
from perseid.problems.splits import normal
from perseid.selection.verified import ancestors

if TYPE_CHECKING:
    from models.render import Renderer

FEW: Final = 6  # lines that are shown again


@dataclass(frozen=True)
class Shown:
    """A prompt as it is told. tokens: how many it has, None where the base cannot be opened."""

    problem_id: str
    kind: str
    gold: Any
    text: str
    tokens: int | None


@dataclass(frozen=True)
class Shows:
    """What to show: so many problems, or the one that is named; as at step `step`; examples for an untrained base."""

    count: int = 3
    problem_id: str | None = None
    step: int = 1
    trained: bool = False


def shown(experiment: Experiment, store: Store, wanted: Shows) -> tuple[list[Shown], str]:
    """The prompts, and why they are not rendered, "" where they are. Raises `UserError` for an unknown problem."""
    format = format_of(experiment.models.policy.format)
    items = chosen(experiment, wanted)
    renderer, why = renderer_of(experiment, store)
    examples = isinstance(experiment.models.policy, Pretrained) and not wanted.trained
    found = []
    for item in items:
        steps = steps_of(experiment, store, format, item, wanted.step)
        prompt = format.prompt(item.problem.question, steps, shots=examples)
        text, tokens = told(prompt, renderer)
        found.append(Shown(item.problem.problem_id, item.problem.kind, item.gold.answer, text, tokens))
    return found, why


def chosen(experiment: Experiment, wanted: Shows) -> Sequence[Item]:
    """Of what round 1 searches; a problem that is named may be held out too."""
    problems, seed, root = experiment.at(1).problems, experiment.seed, experiment.root
    once = first(problems, seed, root)
    apart = frozenset(map(normal, once.held_out))
    skipped = frozenset(row.row for row in once.skipped.get("train", ()))
    asked = [(item.problem, item.facets) for item in (*once.held_out, *once.shown)]
    pool = drawn(problems, seed, root, 1, Before(asked, {}, apart, skipped))
    if wanted.problem_id is None:
        return pool[: wanted.count]
    known = {item.problem.problem_id: item for item in (*once.held_out, *once.shown, *pool)}
    if wanted.problem_id not in known:
        near = nearest(wanted.problem_id, known)
        expected = f"expected a problem that is held out, or that round 1 searches{near}; there are {len(known):,}"
        raise UserError(experiment.name, "--problem", expected)
    return [known[wanted.problem_id]]


def steps_of(experiment: Experiment, store: Store, format: Format, item: Item, step: int) -> tuple[str, ...]:
    """What stands before step `step`: of a trajectory that this root holds of the problem.

    Raises `UserError` where it holds none that is long enough.
    """
    if step == 1:
        return ()
    for steps in trajectories(experiment, store, format, item.problem.problem_id):
        if len(steps) >= step:
            return steps[: step - 1]
    name = item.problem.problem_id
    raise UserError(
        experiment.name, "--step", f"expected a trajectory of {name} with {step} steps in this root; it has none"
    )


def trajectories(experiment: Experiment, store: Store, format: Format, problem_id: str) -> Iterator[tuple[str, ...]]:
    """The steps of what was searched of a problem, a response at a time, those of the last round first."""
    keys = [key for node in unroll(experiment).values() for key in node.artifacts]
    for key in reversed(keys):
        manifest = store.current(key)
        if manifest is None or "trajectories" not in manifest.row_counts:
            continue
        texts = store.read(manifest, "texts").filter(problem_id=problem_id)
        written = dict(texts.select("node_id", "text").iter_rows())
        for node in store.read(manifest, "trajectories").filter(pl.col("problem_id") == problem_id)["node_id"]:
            yield format.split("".join(written[one] for one in ancestors(node)))


def renderer_of(experiment: Experiment, store: Store) -> "tuple[Renderer | None, str]":
    """What makes tokens of a prompt, of the base's tokenizer and template alone; else None, and why."""
    from models.weights import Weights

    try:
        policy = experiment.models.policy
        if isinstance(policy, Pretrained):
            from models.attempt import Attempt
            from models.bases.pretrained import point

            with tempfile.TemporaryDirectory() as folder:
                point(policy, Path(folder), Attempt(experiment.seed, experiment.name, "models.policy"))
                return Weights.of(Path(folder)).renderer(), ""
        key = policy_of(unroll(experiment), 0)
        assert key is not None
        return Weights.of(store.folder(key)).renderer(), ""
    except UserError as error:
        return None, str(error)


def told(prompt: Prompt, renderer: "Renderer | None") -> tuple[str, int | None]:
    if renderer is None:
        return prompt.text, None
    tokens = renderer.encode(prompt)
    return renderer.decode(tokens), len(tokens)


def lines_of(found: Sequence[Shown], why: str) -> Iterator[str]:
    """As a person reads them."""
    before = ""
    for one in found:
        size = "" if one.tokens is None else f" · {one.tokens:,} tokens"
        yield f"── {one.problem_id} · kind {one.kind}{size}"
        yield unlike(one.text, before)
        before = one.text
        yield f"── gold: {json.dumps(one.gold, ensure_ascii=False)}"
        yield ""
    if why:
        yield f"Shown as the format makes it, without chat template and tokens: {why}"


def unlike(text: str, before: str) -> str:
    """`text` without the lines with which `before` began too, where these are many."""
    lines = text.split("\n")
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(lines, before.split("\n"), strict=False)))
    return text if shared < FEW else "\n".join([f"… {shared} lines as above …", *lines[shared:]])
