-- Problems that search found hardest: unsolved first, then the fewest right answers, then the most tokens.
-- experiment = null: of this experiment only
-- limit = 20: so many rows at most
with described as (
    select experiment, problem_id, string_agg(name || '=' || value, ', ' order by name) as facets from facets group by all
)
select
    s.experiment,
    s.round,
    s.problem_id,
    p.source,
    d.facets,
    s.solved,
    s.rollouts,
    s.answers,
    s.correct_answers,
    s.tokens,
    p.question
from searches s
join problems p using (experiment, problem_id)
left join described d using (experiment, problem_id)
where $experiment::varchar is null or s.experiment = $experiment
order by s.solved, s.correct_answers / greatest(s.answers, 1), s.tokens desc, s.experiment, s.round, s.problem_id
limit $limit::bigint
