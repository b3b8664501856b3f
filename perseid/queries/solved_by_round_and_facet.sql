-- Solved share of the searched problems by round and by what is known of them; facet "all" is the whole pool.
-- experiment = null: of this experiment only
-- facet = null: by this facet only
with grouped as (
    select experiment, problem_id, name as facet, value from facets
    union all
    select experiment, problem_id, 'all', 'all' from problems
)
select
    s.experiment,
    s.round,
    g.facet,
    g.value,
    count(*) as problems,
    count(*) filter (where s.solved) as solved,
    avg(s.solved::int) as share,
    sum(s.tokens)::bigint as tokens
from searches s
join grouped g using (experiment, problem_id)
where ($experiment::varchar is null or s.experiment = $experiment) and ($facet::varchar is null or g.facet = $facet)
group by all
order by s.experiment, s.round, g.facet, g.value
