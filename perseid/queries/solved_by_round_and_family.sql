-- Solved share of the searched problems by round and family.
-- experiment = null: of this experiment only
select
    s.experiment,
    s.round,
    p.family,
    count(*) as problems,
    count(*) filter (where s.solved) as solved,
    avg(s.solved::int) as share,
    sum(s.tokens)::bigint as tokens
from searches s
join problems p using (experiment, problem_id)
where $experiment::varchar is null or s.experiment = $experiment
group by all
order by s.experiment, s.round, p.family
