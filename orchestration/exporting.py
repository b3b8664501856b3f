"""`export`: a round's policy, or the champion, as a folder that other programs load."""

from pathlib import Path

from assets.gate import evaluation_of, policy_of
from assets.graph import unroll
from perseid import gate
from perseid.artifacts import Manifest, Store
from perseid.errors import UserError
from perseid.experiment import Experiment
from perseid.problems.facets import ALL


def exported(experiment: Experiment, store: Store, out: Path, round_number: int | None) -> tuple[Path, Manifest]:
    """Write the policy of a round (None: the champion) into the new folder `out`; also the manifest of what was taken.

    Raises `UserError` where there is no such policy, and where `out` is there already.
    """
    from models.export import export

    manifest = chosen(experiment, store, round_number)
    facts = {
        "artifact": f"perseid://{manifest.key}@{manifest.version}",
        "experiment": experiment.name,
        "made": manifest.created,
        "code": manifest.git_commit,
        **scores(experiment, store, manifest),
    }
    return export(store.folder(manifest, "model"), out, experiment.name, facts), manifest


def chosen(experiment: Experiment, store: Store, round_number: int | None) -> Manifest:
    """The manifest of the policy that is asked for."""
    if round_number is None:
        champion = gate.champion(store, experiment.name)
        if champion is None:
            raise UserError(experiment.name, "--round", "expected a round: there is no champion yet")
        return store.manifest(champion.key, champion.version)
    last = len(experiment.rounds)
    if not 0 <= round_number <= last:
        raise UserError(experiment.name, "--round", f"expected a number in [0, {last}], found {round_number}")
    key = policy_of(unroll(experiment), round_number)
    manifest = store.current(key) if key else None
    if manifest is None:
        raise UserError(experiment.name, "--round", f"expected a round whose policy is made, found {round_number}")
    return manifest


def scores(experiment: Experiment, store: Store, policy: Manifest) -> dict[str, str]:
    """What the gate's metric says of it, of all held-out problems; {} where nothing has judged this version."""
    evaluation = evaluation_of(store, gate.Holder(key=policy.key, version=policy.version))
    if evaluation is None:
        return {}
    name = experiment.gate.metric
    rows = store.read(evaluation, "metrics").filter(arm="policy", metric=name, facet=ALL)
    if rows.is_empty():
        return {}
    value, low, high, n = rows.select("value", "low", "high", "n").row(0)
    return {name: f"{value:.1%} [{low:.1%}, {high:.1%}] of {n} held-out problems"}
