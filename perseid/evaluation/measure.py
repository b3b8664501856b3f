"""What the answers to the held-out problems prove: the table `metrics`.

A metric's name says how was answered and what is said of it, `<decoding>_<statistic>`, so no two can share a name:

| statistic | of one problem |
|---|---|
| pass@1 | whether the answer is right; of several samples the share that is |
| pass@k, maj@k, ppm_best@k | of k samples: one is right; the vote is; the one that the PPM scores highest is |
| tokens | generated for it |
| refused | whether the engine refused to answer, in part at least |
| cut, no_answer | the share of samples that the length limit ended, that ended without an answer |
| untold | whether the grader could not tell of an answer |
| delta_previous, delta_control | pass@1 less that of the round before, of the control: over the problems both have |

`mcts_pass@1` and `matched_pass@1` look at the one answer that is picked, alike for both: by the PPM where there is one,
else by vote. Every problem that was asked counts. What was refused, cut or ended in an error is not right. An answer
of which the grader cannot tell is neither right nor wrong: where it decides a problem's score, the problem is left out
of that metric (`n` says how many are in), and `untold` says how many problems have one. So a share with many untold
speaks of the others alone. Intervals are percentile bootstraps over problems (`perseid.metrics`). Two more say the
same of the whole otherwise, where the settings name a facet for it: `…_by_group`, with an interval over groups of
problems that are variants of each other (`n` counts groups), and `…_macro`, the mean over a facet's values.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import polars as pl

from perseid import metrics, tables
from perseid.evaluation.settings import Evaluation
from perseid.mistakes import unknown
from perseid.problems.facets import ALL, groups

Score = Callable[[pl.DataFrame], float]  # of one problem's rows, in order of `sample`
GREEDY = ("greedy_pass@1", "greedy_delta")
Scores = dict[tuple[str, str], dict[str, float]]  # (arm, metric) -> problem_id -> score


@dataclass(frozen=True)
class Evidence:
    """What `measure` reads beside the round's own answers; each may be missing (round 0 has none)."""

    previous: pl.DataFrame | None = None  # the `evaluations` of the round before
    pair_scores: pl.DataFrame | None = None
    soundness: pl.DataFrame | None = None


def measure(
    evaluations: pl.DataFrame, facets: pl.DataFrame, settings: Evaluation, seed: int, evidence: Evidence
) -> pl.DataFrame:
    """The table `metrics`: each metric by arm and part of the held-out set, with its interval and n.

    facets: of the held-out problems. A part is what shares a facet's value.
    """
    guided = _has_ppm(evaluations, evidence.pair_scores)
    wanted = _statistics(settings.samples, guided)
    now = _each_problem(evaluations, wanted)
    before = _each_problem(evidence.previous, {"greedy": wanted["greedy"]}) if evidence.previous is not None else {}
    scores = now | _differences(now, before)
    found = []
    for facet, part, members in _parts(facets):
        for key, each in scores.items():
            values = [score for problem_id, score in each.items() if members is None or problem_id in members]
            if values:
                found.append((*key, facet, part, *_estimate(values, settings, seed)))
    found += [(*key, ALL, ALL, *numbers) for key, numbers in _regrouped(scores, facets, settings, seed)]
    found += [("policy", name, ALL, ALL, *_estimate(values, settings, seed)) for name, values in _others(evidence)]
    return tables.frame("metrics", found)


Key = tuple[str, str]  # arm, metric


def _regrouped(
    scores: Scores, facets: pl.DataFrame, settings: Evaluation, seed: int
) -> Iterator[tuple[Key, tuple[Any, ...]]]:
    """Of greedy answers, by groups and by the values of a facet. A problem without the facet is a group of its own."""
    drawn: dict[str, Any] = {"seed": seed, "samples": settings.bootstrap_samples, "confidence": settings.confidence}
    group, value = (
        dict(facets.filter(name=name).select("problem_id", "value").iter_rows())
        for name in (settings.by_group, settings.macro)
    )
    for (arm, metric), each in scores.items():
        if not (each and metric.startswith(GREEDY)):
            continue
        if settings.by_group:
            names = [group.get(problem_id, f"problem {problem_id}") for problem_id in each]
            yield (arm, f"{metric}_by_group"), astuple(metrics.bootstrap_groups([*each.values()], names, **drawn))
        if settings.macro and (parts := _by_value(each, value)):
            yield (arm, f"{metric}_macro"), astuple(metrics.macro(parts, **drawn))


def _by_value(each: Mapping[str, float], value: Mapping[str, str]) -> list[list[float]]:
    parts: dict[str, list[float]] = {}
    for problem_id, score in each.items():
        if problem_id in value:
            parts.setdefault(value[problem_id], []).append(score)
    return [parts[name] for name in sorted(parts)]


def unknown_facet(settings: Evaluation, facets: pl.DataFrame) -> tuple[str, str] | None:
    """The key that names a facet which no held-out problem has, and what was expected."""
    names = sorted(facets["name"].unique())
    for key, name in (("by_group", settings.by_group), ("macro", settings.macro)):
        if name and name not in names:
            return f"evaluation.{key}", unknown(name, names) if names else "the held-out problems have no facets"
    return None


def _parts(facets: pl.DataFrame) -> Iterator[tuple[str, str, frozenset[str] | None]]:
    """Facet, value, and which problems; None for the whole."""
    yield ALL, ALL, None
    for name, rows in groups(facets):
        for (value,), part in rows.group_by("value", maintain_order=True):
            yield name, str(value), frozenset(part["problem_id"])


def unsound(soundness: pl.DataFrame) -> pl.Series:
    """Whether a verified program is wrong on a fresh instance, by row; null where the grader cannot tell."""
    wrong = pl.col("right") + pl.col("untold") < pl.col("fresh")
    return soundness.select(unsound=pl.when(wrong).then(True).when(pl.col("untold") == 0).then(False)).to_series()


def _has_ppm(evaluations: pl.DataFrame, pair_scores: pl.DataFrame | None) -> bool:
    """Whether a PPM was asked: one without pairs is untrained, and scores neither pairs nor answers."""
    scored = pair_scores is not None and not pair_scores.is_empty()
    return scored or bool(evaluations["ppm"].is_not_null().any())


def _statistics(k: int, guided: bool) -> dict[str, dict[str, Score]]:
    """Decoding -> statistic -> how it is computed."""
    sampled: dict[str, Score] = {"pass@1": _pass_at(1), f"pass@{k}": _pass_at(k), f"maj@{k}": _vote}
    return {
        "greedy": {"pass@1": _first},
        "sampled": sampled | ({f"ppm_best@{k}": _best} if guided else {}),
        "mcts": {"pass@1": _first},
        "matched": {"pass@1": _best if guided else _vote},
    }


def _each_problem(rows: pl.DataFrame, wanted: dict[str, dict[str, Score]]) -> Scores:
    found: Scores = {}
    ordered = rows.sort("arm", "decoding", "problem_id", "sample")
    for (arm, decoding, problem_id), group in ordered.group_by("arm", "decoding", "problem_id", maintain_order=True):
        told = {name: _told(score, group) for name, score in wanted.get(str(decoding), {}).items()}
        for name, value in (told | _counts(group)).items():
            if value is not None:
                found.setdefault((str(arm), f"{decoding}_{name}"), {})[str(problem_id)] = value
    return found


def _told(score: Score, group: pl.DataFrame) -> float | None:
    """The score, if it is the same whatever the verdicts that could not be told would have been."""
    if group["correct"].null_count() == 0:
        return score(group)
    low, high = (score(group.with_columns(pl.col("correct").fill_null(verdict))) for verdict in (False, True))
    return low if low == high else None


def _counts(group: pl.DataFrame) -> dict[str, float]:
    return {
        "tokens": float(group["tokens"].sum()),
        "refused": float((group["status"] == "refused").any()),
        "cut": float((group["status"] == "cut").sum()) / group.height,
        "no_answer": float((group["status"] == "no_answer").sum()) / group.height,
        "untold": float(group["correct"].null_count() > 0),
    }


def _first(group: pl.DataFrame) -> float:
    return float(group["correct"][0])


def _pass_at(k: int) -> Score:
    return lambda group: metrics.pass_at_k(group.height, int(group["correct"].sum()), k)


def _vote(group: pl.DataFrame) -> float:
    return metrics.majority(group["answer"].to_list(), group["correct"].to_list())


def _best(group: pl.DataFrame) -> float:
    return metrics.best_of(group["ppm"].to_list(), group["correct"].to_list(), group["answer"].to_list())


def _differences(now: Scores, before: Scores) -> Scores:
    """Paired differences of greedy pass@1 over the problems of which both sides can be told."""
    mine = now.get(("policy", "greedy_pass@1"), {})
    others = {
        "previous": before.get(("policy", "greedy_pass@1"), {}),
        "control": now.get(("control", "greedy_pass@1"), {}),
    }
    return {
        ("policy", f"greedy_delta_{name}"): {p: score - other[p] for p, score in mine.items() if p in other}
        for name, other in others.items()
    }


def _others(evidence: Evidence) -> Iterator[tuple[str, list[float]]]:
    """Metrics over other things than held-out problems: held-out pairs, verified trajectories."""
    if evidence.pair_scores is not None:
        held_out = evidence.pair_scores.filter(pl.col("split") == "held_out")
        if held_out.height:
            yield "ppm_pair_accuracy", (held_out["score_chosen"] > held_out["score_rejected"]).cast(float).to_list()
    if evidence.soundness is not None:
        told = unsound(evidence.soundness).drop_nulls().cast(float).to_list()
        if told:
            yield "verified_but_wrong", told
        if evidence.soundness.height:
            yield "verified_untold", (evidence.soundness["untold"] > 0).cast(float).to_list()


def _estimate(scores: list[float], settings: Evaluation, seed: int) -> tuple[Any, ...]:
    samples, confidence = settings.bootstrap_samples, settings.confidence
    found = metrics.bootstrap(np.array(scores), seed=seed, samples=samples, confidence=confidence)
    return found.value, found.low, found.high, found.n
