"""What the sections of an experiment say to each other: what contradicts itself, and what is said without effect.

Only what can be known from the file alone. What can never have an effect is refused; what is legal, and has none here,
is a warning.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from perseid.engines import Vllm
from perseid.graders.kinds import refused
from perseid.recipes import agreement
from perseid.section import Section, changed

if TYPE_CHECKING:
    from perseid.experiment import Experiment


def contradiction(e: "Experiment") -> tuple[str, str] | None:
    """The first key that cannot stand beside the others, and what was expected; None if they agree."""
    return (
        _kind_that_nobody_grades(e)
        or _guide_before_there_is_one(e)
        or _bootstrap_in_a_round(e)
        or _step_longer_than_the_context(e)
        or _adapter_that_the_engine_cannot_serve(e)
        or e.problems.contradiction(_pools(e), e.evaluation.fresh_instances)
        or agreement.contradiction(e)
        or _rounds_that_ask_nothing(e)
    )


def without_effect(e: "Experiment") -> Iterator[tuple[str, str]]:
    """Keys that were changed and that nothing reads, each with the reason."""
    yield from e.problems.without_effect()
    yield from agreement.without_effect(e)
    for name in sorted({*e.graders} - e.problems.kinds):
        yield f"graders.{name}", "has no effect while no problem is of this kind"
    if isinstance(e.engine, Vllm) and e.engine.context > e.models.policy.context:
        yield "engine.context", f"has no effect above models.policy.context, {e.models.policy.context}"
    if e.method.ppm:
        yield "method.ppm", "has no effect in round 1, which trains the first PPM"
    if e.evaluation.mcts_problems == 0:
        for key in changed(e.evaluation, ("mcts_rollouts", "mcts_candidates", "mcts_step_tokens")):
            yield f"evaluation.{key}", "has no effect while evaluation.mcts_problems is 0"


def _kind_that_nobody_grades(e: "Experiment") -> tuple[str, str] | None:
    for key, source in e.problems.keyed():
        for kind in sorted(source.kinds()):
            if why := refused(kind, e.graders):
                return f"{key}.kind", why
    return None


def _pools(e: "Experiment") -> list[tuple[str, Section]]:
    """A pool a round, with the key by which a user would change it."""
    keys = [f"rounds.{n}.pool" if round.pool else "problems.pool" for n, round in enumerate(e.rounds, 1)]
    return [(key, e.at(number).problems.pool) for number, key in enumerate(keys, 1)]


def _guide_before_there_is_one(e: "Experiment") -> tuple[str, str] | None:
    expected = "has no effect: round 1 trains the first PPM, so that rounds from 2 on can be guided by one"
    if e.rounds[0].method.get("ppm"):
        return "rounds.1.method.ppm", expected
    if e.method.ppm and len(e.rounds) == 1:
        return "method.ppm", expected
    return None


def _bootstrap_in_a_round(e: "Experiment") -> tuple[str, str] | None:
    for number, round in enumerate(e.rounds, 1):
        if "bootstrap" in round.training:
            return f"rounds.{number}.training.bootstrap", "has no effect: it is round 0's; expected it under training"
    return None


def _step_longer_than_the_context(e: "Experiment") -> tuple[str, str] | None:
    """A step stands behind its question."""
    for number in range(len(e.rounds) + 1):
        method = e.at(number).method
        if method.length >= e.models.policy.context:
            own = number and {method.LENGTH, "kind"} & {*e.rounds[number - 1].method}
            key = f"rounds.{number}.method" if own else "method"
            least = f"less than models.policy.context, {e.models.policy.context}"
            return f"{key}.{method.LENGTH}", f"expected {least}, found {method.length}"
    return None


def _adapter_that_the_engine_cannot_serve(e: "Experiment") -> tuple[str, str] | None:
    lora = e.models.policy.lora
    if lora is None or lora.rank <= Vllm.MOST_RANK:
        return None
    if any(isinstance(e.at(number).engine, Vllm) for number in range(len(e.rounds) + 1)):
        most = f"expected at most {Vllm.MOST_RANK} where the engine is vllm, found {lora.rank}"
        return "models.policy.lora.rank", most
    return None


def _rounds_that_ask_nothing(e: "Experiment") -> tuple[str, str] | None:
    """A pool that is empty, or smaller than the shards that search it."""
    for number, (key, pool) in enumerate(_pools(e), 1):
        asks = e.problems.asks(pool)
        if asks == 0:
            return key, f"expected questions to search in round {number}, found none"
        if asks is not None and asks < e.shards:
            return "shards", f"expected at most {asks:,}, the questions of round {number}: a shard would search nothing"
    return None
