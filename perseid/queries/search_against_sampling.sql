-- Search against plain sampling at equal tokens, by round and arm, beside greedy decoding.
-- experiment = null: of this experiment only
-- facet = "all": of the held-out problems
-- part = "all": value of the facet
select
    experiment,
    round,
    arm,
    max(value) filter (where metric = 'greedy_pass@1') as greedy,
    max(value) filter (where metric = 'mcts_pass@1') as mcts,
    max(value) filter (where metric = 'matched_pass@1') as sampling,
    mcts - sampling as difference,
    max(value) filter (where metric = 'greedy_tokens') as tokens_greedy,
    max(value) filter (where metric = 'mcts_tokens') as tokens_mcts,
    max(value) filter (where metric = 'matched_tokens') as tokens_sampling,
    max(n) filter (where metric = 'mcts_pass@1') as problems
from metrics
where facet = $facet and part = $part and ($experiment::varchar is null or experiment = $experiment)
group by all
order by experiment, round, arm
