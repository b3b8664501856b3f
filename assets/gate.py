"""The gate at work: scores of the candidate and of the champion on the same problems, the decision, the aliases.

The rule is `perseid.gate`; the champion of the rounds before is the one to compare with, and its scores come from the
evaluation that read its very version. One that was judged on other held-out problems gives way.
"""

from collections.abc import Mapping

import polars as pl

from assets.graph import Graph, Node, unroll
from assets.registry import champion_alias
from assets.tracking import Tracking
from assets.work import Made, Work
from perseid import gate
from perseid.artifacts import Manifest, Store
from perseid.errors import UserError
from perseid.experiment import Experiment


def judged(work: Work, manifest: Manifest, made: Made, tracking: Tracking) -> Mapping[str, str]:
    """What follows the publishing of an evaluation: the gate's word on the policy."""
    decision = settle(work.store, work.plan.experiment, manifest, tracking)
    return {"gate": f"**{decision.verdict}**: {decision.reason}"}


def settle(store: Store, experiment: Experiment, evaluation: Manifest, tracking: Tracking) -> gate.Decision:
    """Decide on the policy that `evaluation` judged, write it down, and let the alias follow."""
    case = case_of(store, experiment, evaluation)
    decision = decided(store, experiment, evaluation, case)
    champion = gate.apply(store, experiment.name, case, decision).champion
    if champion is not None:
        champion_alias(store, experiment.name, champion, tracking)
    return decision


def is_settled(store: Store, experiment: Experiment, evaluation: Manifest) -> bool:
    """Whether the gate has spoken on this very case; a kill may come between an evaluation and its verdict."""
    return verdict_of(store, experiment, evaluation) is not None


def verdict_of(store: Store, experiment: Experiment, evaluation: Manifest) -> gate.Event | None:
    """The gate's word on the policy that `evaluation` judged, None while it is of another case."""
    return gate.state(store, experiment.name).verdict(case_of(store, experiment, evaluation))


def case_of(store: Store, experiment: Experiment, evaluation: Manifest) -> gate.Case:
    """Who is judged by this evaluation, against whom, on which evaluations and by which rule."""
    candidate = judged_policy(experiment, evaluation)
    champion = gate.state(store, experiment.name).before(candidate)
    rival = None if champion is None else evaluation_of(store, champion)
    rule = f"{experiment.gate.confidence} of {resamples(experiment, candidate)} resamples" if rival else ""
    versions = {"evaluation": evaluation.version, "rival": rival.version if rival else ""}
    return gate.Case(candidate=candidate, champion=champion, **versions, rule=rule)


def decided(store: Store, experiment: Experiment, evaluation: Manifest, case: gate.Case) -> gate.Decision:
    if case.champion is None:
        return gate.decide([], None, seed=experiment.seed)
    rival = evaluation_of(store, case.champion)
    both = paired(greedy(store, evaluation), greedy(store, rival)) if rival is not None else None
    if both is None:
        return gate.Decision(verdict="promote", reason="the champion was judged on other held-out problems")
    return gate.decide(
        both["correct"],
        both["champion"],
        samples=resamples(experiment, case.candidate),
        seed=experiment.seed,
        confidence=experiment.gate.confidence,
    )


def resamples(experiment: Experiment, candidate: gate.Holder) -> int:
    """As its round is evaluated."""
    return experiment.at(gate.round_of(candidate)).evaluation.bootstrap_samples


def judged_policy(experiment: Experiment, evaluation: Manifest) -> gate.Holder:
    """Whom an evaluation is of: what it read as `policy`; where nobody recorded that, what the graph gives it so."""
    [key] = evaluation.roles.get("policy") or unroll(experiment)[evaluation.key].roles["policy"]
    return gate.Holder(key=key, version=evaluation.inputs[key])


def evaluation_of(store: Store, policy: gate.Holder) -> Manifest | None:
    """The evaluation that read this version as its policy: a current one, else the newest. It stands in its round."""
    keys = store.keys(policy.key.rpartition("/")[0])
    current = [manifest for key in keys if (manifest := store.current(key)) is not None]
    if found := [manifest for manifest in current if is_of(manifest, policy)]:
        return found[0]
    versions = [store.manifest(key, version) for key in keys for version in store.versions(key)]
    judged = [manifest for manifest in versions if is_of(manifest, policy)]
    return max(judged, key=lambda manifest: (manifest.created, manifest.version), default=None)


def is_of(manifest: Manifest, policy: gate.Holder) -> bool:
    """Whether it holds the answers of this version of the policy."""
    return "evaluations" in manifest.row_counts and manifest.read_as("policy", policy.key) == policy.version


def judges(node: Node) -> bool:
    """Whether an evaluation is made there, upon which the gate gives its word."""
    return node.does == "evaluation"


def policy_of(graph: Graph, round_number: int) -> str | None:
    """The key of the policy that a round's evaluation judges, None where the round has none."""
    found = [node.roles["policy"] for node in graph.values() if node.round == round_number and judges(node)]
    return found[0][0] if found else None


def greedy(store: Store, evaluation: Manifest) -> pl.DataFrame:
    """Whether the policy's greedy answer to each held-out problem is right: problem_id, correct (null: untold)."""
    rows = store.read(evaluation, "evaluations")
    mine = rows.filter((pl.col("arm") == "policy") & (pl.col("decoding") == "greedy"))
    return mine.select("problem_id", "correct").sort("problem_id")


def paired(candidate: pl.DataFrame, champion: pl.DataFrame) -> pl.DataFrame | None:
    """Both verdicts a problem where both can be told, None unless the problems are the same."""
    if candidate["problem_id"].to_list() != champion["problem_id"].to_list():
        return None
    return candidate.with_columns(champion["correct"].alias("champion")).drop_nulls()


def promote(store: Store, experiment: Experiment, round_number: int, tracking: Tracking) -> gate.Holder:
    """Make the present policy of a round champion. Raises `UserError` when there is none."""
    last = len(experiment.rounds)
    if not 0 <= round_number <= last:
        raise UserError(experiment.name, "round", f"expected a number in [0, {last}], found {round_number}")
    key = policy_of(unroll(experiment), round_number)
    assert key is not None, f"round {round_number} evaluates nothing"
    state = gate.promote(store, experiment.name, key)
    return _followed(store, experiment, state, tracking)


def rollback(store: Store, experiment: Experiment, tracking: Tracking) -> gate.Holder:
    """Give the place back to the champion before. Raises `UserError` when there was none."""
    return _followed(store, experiment, gate.rollback(store, experiment.name), tracking)


def _followed(store: Store, experiment: Experiment, state: gate.State, tracking: Tracking) -> gate.Holder:
    assert state.champion is not None
    champion_alias(store, experiment.name, state.champion, tracking)
    return state.champion
