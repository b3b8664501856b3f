-- Search against plain sampling at equal tokens, by round and arm, beside greedy decoding.
-- experiment = null: of this experiment only
-- part = "all": part of the held-out problems
select
    experiment,
    round,
    arm,
    max(value) filter (where metric = 'pass@1') as greedy,
    max(value) filter (where metric = 'mcts') as mcts,
    max(value) filter (where metric = 'sampling_at_mcts_tokens') as sampling,
    mcts - sampling as difference,
    max(value) filter (where metric = 'tokens@greedy') as tokens_greedy,
    max(value) filter (where metric = 'tokens@mcts') as tokens_mcts,
    max(value) filter (where metric = 'tokens@sampling_at_mcts_tokens') as tokens_sampling,
    max(n) filter (where metric = 'mcts') as problems
from metrics
where part = $part and ($experiment::varchar is null or experiment = $experiment)
group by all
order by experiment, round, arm
