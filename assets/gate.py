"""The gate at work: scores of the candidate and of the champion on the same problems, the decision, the aliases.

The rule is `perseid.gate`; the champion of the rounds before is the one to compare with, and its scores come from the
evaluation that read its very version. One that was judged on other held-out problems gives way.
"""

from collections.abc import Mapping

import polars as pl

from assets.graph import key_of
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
    decision = decided(store, experiment, case)
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
    candidate = judged_policy(evaluation)
    champion = gate.state(store, experiment.name).before(candidate)
    rival = None if champion is None else evaluation_of(store, champion)
    rule = f"{experiment.gate.confidence} of {experiment.evaluation.bootstrap_samples} resamples" if rival else ""
    versions = {"evaluation": evaluation.version, "rival": rival.version if rival else ""}
    return gate.Case(candidate=candidate, champion=champion, **versions, rule=rule)


def decided(store: Store, experiment: Experiment, case: gate.Case) -> gate.Decision:
    if case.champion is None:
        return gate.decide([], None, seed=experiment.seed)
    mine, theirs = (evaluation_key(policy) for policy in (case.candidate, case.champion))
    evaluation = store.manifest(mine, case.evaluation)
    both = paired(greedy(store, evaluation), greedy(store, store.manifest(theirs, case.rival))) if case.rival else None
    if both is None:
        return gate.Decision(verdict="promote", reason="the champion was judged on other held-out problems")
    return gate.decide(
        both["correct"],
        both["champion"],
        samples=experiment.evaluation.bootstrap_samples,
        seed=experiment.seed,
        confidence=experiment.gate.confidence,
    )


def judged_policy(evaluation: Manifest) -> gate.Holder:
    key = evaluation.key.removesuffix("/evaluation") + "/policy"
    return gate.Holder(key=key, version=evaluation.inputs[key])


def evaluation_key(policy: gate.Holder) -> str:
    return policy.key.removesuffix("/policy") + "/evaluation"


def evaluation_of(store: Store, policy: gate.Holder) -> Manifest | None:
    """The evaluation that read this version of the policy: the current one, else the newest."""
    key = evaluation_key(policy)
    current = store.current(key)
    if current is not None and current.inputs.get(policy.key) == policy.version:
        return current
    found = [store.manifest(key, version) for version in store.versions(key)]
    judged = [manifest for manifest in found if manifest.inputs.get(policy.key) == policy.version]
    return max(judged, key=lambda manifest: (manifest.created, manifest.version), default=None)


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
    state = gate.promote(store, experiment.name, key_of(experiment.name, round_number, "policy"))
    return _followed(store, experiment, state, tracking)


def rollback(store: Store, experiment: Experiment, tracking: Tracking) -> gate.Holder:
    """Give the place back to the champion before. Raises `UserError` when there was none."""
    return _followed(store, experiment, gate.rollback(store, experiment.name), tracking)


def _followed(store: Store, experiment: Experiment, state: gate.State, tracking: Tracking) -> gate.Holder:
    assert state.champion is not None
    champion_alias(store, experiment.name, state.champion, tracking)
    return state.champion
