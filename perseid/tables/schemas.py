"""The schema of every table: columns in order, dtypes, ranges, allowed values, the key that is unique and sorted by.

Does not promise that a text is true: only that it is there.
"""

from typing import Any, Final, get_args

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData

from perseid.endings import Ended, NodeStatus
from perseid.problems.problem import Split

HASH16: Final = r"^[0-9a-f]{16}$"
NODE_ID: Final = r"^0(\.[1-9][0-9]*)*$"
EXECUTIONS: Final = (
    *("ok", "error", "timeout", "memory", "output"),
    *("exited", "crashed", "refused", "sandbox_error"),
)

Text: Final[dict[str, Any]] = {"str_length": {"min_value": 1}}
Q: Final[dict[str, Any]] = {"ge": -1.0, "le": 1.0}


class Table(pa.DataFrameModel):
    """Columns exactly as declared, in that order, no nulls but where it says so. `Config.unique` is the sort key."""

    class Config:
        strict = True
        ordered = True


class Problems(Table):
    """What search may see. `kind` names the grader that compares answers with the gold."""

    problem_id: str = pa.Field(**Text)
    source: str = pa.Field(**Text)
    kind: str = pa.Field(**Text)
    question: str = pa.Field(**Text)

    class Config:
        unique = ["problem_id"]


class Gold(Table):
    """What only graders see: JSON."""

    problem_id: str = pa.Field(**Text)
    answer: str = pa.Field(**Text)

    class Config:
        unique = ["problem_id"]


class Facets(Table):
    """What else is known of a problem, a value a name: subject, level, split of origin. Results are grouped by it."""

    problem_id: str = pa.Field(**Text)
    name: str = pa.Field(**Text)
    value: str = pa.Field(**Text)

    class Config:
        unique = ["problem_id", "name"]


class Pools(Table):
    """Who is asked when: `round` is the round that searches it, 0 outside pools. A problem may be searched again."""

    round: int = pa.Field(ge=0)
    split: str = pa.Field(isin=list(get_args(Split)))
    problem_id: str = pa.Field(**Text)

    class Config:
        unique = ["round", "split", "problem_id"]


class Skipped(Table):
    """Rows of sources that are no problems of the experiment, each with its reason: bad, or asked in another row.

    `row` is its number in all sources of the side, from 0; file and line say where it stood when it was read.
    """

    side: str = pa.Field(isin=["train", "held_out"])
    row: int = pa.Field(ge=0)
    source: str = pa.Field(**Text)
    file: str = pa.Field(**Text)
    line: int = pa.Field(ge=1)
    reason: str = pa.Field(**Text)

    class Config:
        unique = ["side", "row"]


class Demonstrations(Table):
    """Worked questions. `problem_id` is "" where there is no problem; `response`: the steps with their delimiters."""

    example_id: str = pa.Field(**Text)
    kind: str = pa.Field(**Text)
    problem_id: str
    question: str = pa.Field(**Text)
    response: str = pa.Field(**Text)

    class Config:
        unique = ["example_id"]


class Nodes(Table):
    """The numbers of every tree node. `tokens` generated for its own text; Q = value_sum / visits, in [-1, 1]."""

    problem_id: str = pa.Field(**Text)
    node_id: str = pa.Field(str_matches=NODE_ID)
    parent_id: str
    depth: int = pa.Field(ge=0)
    status: str = pa.Field(isin=list(get_args(NodeStatus)))
    visits: int = pa.Field(ge=0)
    value_sum: float
    q: float = pa.Field(**Q)
    prior: float = pa.Field(nullable=True, **Q)
    answer: str = pa.Field(nullable=True)
    correct: bool = pa.Field(nullable=True)
    execution: str = pa.Field(nullable=True, isin=list(EXECUTIONS))
    tier: str = pa.Field(nullable=True, isin=["fast", "cpython"])
    tokens: int = pa.Field(ge=0)

    class Config:
        unique = ["problem_id", "node_id"]

    @pa.dataframe_check
    @classmethod
    def q_is_value_sum_over_visits(cls, data: PolarsData) -> pl.LazyFrame:
        off = (pl.col("q") * pl.col("visits") - pl.col("value_sum")).abs()
        return data.lazyframe.select(pl.when(pl.col("visits") > 0).then(off < 1e-6).otherwise(pl.col("q") == 0.0))


class Texts(Table):
    """The text of every node but the root, apart from the numbers because a scan of text costs ten times as much."""

    problem_id: str = pa.Field(**Text)
    node_id: str = pa.Field(str_matches=NODE_ID)
    text: str
    stdout: str
    error: str

    class Config:
        unique = ["problem_id", "node_id"]


class Trajectories(Table):
    """Paths to a valid answer, right or wrong. Q over the steps of the path."""

    trajectory_id: str = pa.Field(str_matches=HASH16)
    problem_id: str = pa.Field(**Text)
    node_id: str = pa.Field(str_matches=NODE_ID)
    answer: str = pa.Field(**Text)
    correct: bool
    mean_q: float = pa.Field(**Q)
    min_q: float = pa.Field(**Q)
    steps: int = pa.Field(ge=1)
    tokens: int = pa.Field(ge=0)
    rollout: int = pa.Field(ge=0)

    class Config:
        unique = ["trajectory_id", "problem_id", "node_id"]


class Searches(Table):
    """One row a problem. easy: all answers told right; medium: some; hard: none. The counts are those of a `Tree`.

    cut: samples that the length limit ended. unanswered: endings that came to no answer though they were not cut.
    """

    problem_id: str = pa.Field(**Text)
    solved: bool
    rollouts: int = pa.Field(ge=0)
    nodes: int = pa.Field(ge=1)
    tokens: int = pa.Field(ge=0)
    answers: int = pa.Field(ge=0)
    correct_answers: int = pa.Field(ge=0)
    difficulty: str = pa.Field(isin=["easy", "medium", "hard"])
    ended: str = pa.Field(isin=list(get_args(Ended)))
    samples: int = pa.Field(ge=0)
    merged: int = pa.Field(ge=0)
    refused: int = pa.Field(ge=0)
    executions: int = pa.Field(ge=0)
    untold: int = pa.Field(ge=0)
    cut: int = pa.Field(ge=0)
    unanswered: int = pa.Field(ge=0)

    class Config:
        unique = ["problem_id"]


class Verified(Table):
    """Trajectories that may train a policy: right, re-executed, ranked from 1 within their problem."""

    trajectory_id: str = pa.Field(str_matches=HASH16, unique=True)
    problem_id: str = pa.Field(**Text)
    question: str = pa.Field(**Text)
    response: str = pa.Field(**Text)
    answer: str = pa.Field(**Text)
    mean_q: float = pa.Field(**Q)
    min_q: float = pa.Field(**Q)
    rank: int = pa.Field(ge=1)

    class Config:
        unique = ["problem_id", "rank"]


class Rejected(Table):
    """Right trajectories that may not train, each with its reason. One trajectory may be met in several trees."""

    trajectory_id: str = pa.Field(str_matches=HASH16)
    problem_id: str = pa.Field(**Text)
    reason: str = pa.Field(**Text)


class Unverified(Table):
    """Trajectories that train the arm without verification: distinct, come to an answer, `correct` or not."""

    trajectory_id: str = pa.Field(str_matches=HASH16)
    problem_id: str = pa.Field(**Text)
    question: str = pa.Field(**Text)
    response: str = pa.Field(**Text)
    answer: str = pa.Field(**Text)
    correct: bool = pa.Field(nullable=True)

    class Config:
        unique = ["trajectory_id"]


class Shards(Table):
    """The shards of trajectories that were read, by version."""

    shard: str = pa.Field(**Text)
    version: str = pa.Field(str_matches=HASH16)

    class Config:
        unique = ["shard"]


class Pairs(Table):
    """Preference pairs: steps after one prefix, or whole responses (`final`). Margin of Q above 0."""

    pair_id: str = pa.Field(str_matches=HASH16)
    problem_id: str = pa.Field(**Text)
    kind: str = pa.Field(isin=["step", "final"])
    split: str = pa.Field(isin=["train", "held_out"])
    question: str = pa.Field(**Text)
    prefix: str
    chosen: str = pa.Field(**Text)
    rejected: str = pa.Field(**Text)
    q_chosen: float = pa.Field(**Q)
    q_rejected: float = pa.Field(**Q)
    weight: float = pa.Field(gt=0.0, le=1.0)

    class Config:
        unique = ["pair_id"]

    @pa.dataframe_check
    @classmethod
    def chosen_differs_from_rejected(cls, data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("chosen") != pl.col("rejected"))


class PairRejects(Table):
    """How many candidate pairs were dropped, by reason."""

    reason: str = pa.Field(**Text)
    count: int = pa.Field(ge=0)

    class Config:
        unique = ["reason"]


class Examples(Table):
    """The rows that trained a policy. `source`: "verified", or the kind of demonstration.

    `round` is where a verified trajectory comes from; `weight` its repetitions.
    """

    example_id: str = pa.Field(**Text)
    source: str = pa.Field(**Text)
    round: int = pa.Field(ge=0)
    problem_id: str
    trajectory_id: str = pa.Field(nullable=True, str_matches=HASH16)
    weight: float = pa.Field(gt=0.0)

    class Config:
        unique = ["example_id"]

    @pa.dataframe_check
    @classmethod
    def verified_rows_name_their_trajectory(cls, data: PolarsData) -> pl.LazyFrame:
        named = pl.col("trajectory_id").is_not_null() & (pl.col("problem_id") != "")
        return data.lazyframe.select(~pl.col("source").str.ends_with("verified") | named)


class Training(Table):
    """The loss by optimiser step; `tokens` of the step's batch."""

    step: int = pa.Field(ge=0)
    loss: float = pa.Field(ge=0.0, lt=float("inf"))
    tokens: int = pa.Field(ge=0)

    class Config:
        unique = ["step"]


class PairScores(Table):
    """What the PPM says of both sides of a pair, in [-1, 1]."""

    pair_id: str = pa.Field(str_matches=HASH16)
    split: str = pa.Field(isin=["train", "held_out"])
    score_chosen: float = pa.Field(**Q)
    score_rejected: float = pa.Field(**Q)

    class Config:
        unique = ["pair_id"]


class Evaluations(Table):
    """One sample of a held-out problem, every one that was asked for; `status` says whether it came to an answer.

    `refused`: the engine would not go on from the question; `cut`: the length limit ended it before it answered;
    `no_answer`: it ended, and no answer was found in it or it did not run. `correct` is null where the grader cannot
    tell. `tokens` generated for it; `ppm` the PPM's score of it, where it was asked.
    """

    problem_id: str = pa.Field(**Text)
    arm: str = pa.Field(isin=["policy", "control"])
    decoding: str = pa.Field(isin=["greedy", "sampled", "mcts", "matched"])
    sample: int = pa.Field(ge=0)
    status: str = pa.Field(isin=["answer", "no_answer", "cut", "refused"])
    answer: str = pa.Field(nullable=True)
    correct: bool = pa.Field(nullable=True)
    tokens: int = pa.Field(ge=0)
    ppm: float = pa.Field(nullable=True, **Q)

    class Config:
        unique = ["problem_id", "arm", "decoding", "sample"]

    @pa.dataframe_check
    @classmethod
    def a_row_has_an_answer_or_is_not_right(cls, data: PolarsData) -> pl.LazyFrame:
        answered = (pl.col("status") == "answer") & pl.col("answer").is_not_null()
        missing = (pl.col("status") != "answer") & pl.col("answer").is_null()
        return data.lazyframe.select(answered | (missing & ~pl.col("correct").fill_null(True)))


class Metrics(Table):
    """A metric of an arm over a part of the held-out problems, with its interval; `n` problems (or pairs).

    The part: those with the value `part` of the facet `facet`; both "all" for the whole.
    """

    arm: str = pa.Field(isin=["policy", "control"])
    metric: str = pa.Field(**Text)
    facet: str = pa.Field(**Text)
    part: str = pa.Field(**Text)
    value: float = pa.Field(gt=float("-inf"), lt=float("inf"))
    low: float = pa.Field(gt=float("-inf"), lt=float("inf"))
    high: float = pa.Field(gt=float("-inf"), lt=float("inf"))
    n: int = pa.Field(ge=0)

    class Config:
        unique = ["arm", "metric", "facet", "part"]

    @pa.dataframe_check
    @classmethod
    def low_is_not_above_high(cls, data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("low") <= pl.col("high"))


class Soundness(Table):
    """How many of `fresh` new instances of its problem a verified program answers right; `untold`: cannot be told."""

    trajectory_id: str = pa.Field(str_matches=HASH16)
    fresh: int = pa.Field(ge=1)
    right: int = pa.Field(ge=0)
    untold: int = pa.Field(ge=0)

    class Config:
        unique = ["trajectory_id"]

    @pa.dataframe_check
    @classmethod
    def right_and_untold_are_at_most_fresh(cls, data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("right") + pl.col("untold") <= pl.col("fresh"))


SCHEMAS: Final[dict[str, type[Table]]] = {
    "problems": Problems,
    "gold": Gold,
    "facets": Facets,
    "pools": Pools,
    "skipped": Skipped,
    "demonstrations": Demonstrations,
    "nodes": Nodes,
    "texts": Texts,
    "trajectories": Trajectories,
    "searches": Searches,
    "verified": Verified,
    "rejected": Rejected,
    "unverified": Unverified,
    "shards": Shards,
    "pairs": Pairs,
    "pair_rejects": PairRejects,
    "examples": Examples,
    "training": Training,
    "pair_scores": PairScores,
    "evaluations": Evaluations,
    "metrics": Metrics,
    "soundness": Soundness,
}
