-- The first round in which problems of a facet's value were verified, and whether any of them had been demonstrated.
-- experiment = null: of this experiment only
-- facet = null: of this facet only
with shown as (
    select distinct f.experiment, f.name, f.value
    from demonstrations d join facets f using (experiment, problem_id)
    where d.kind = 'demonstration'
), asked as (
    select f.experiment, f.name, f.value, count(distinct f.problem_id) as pool
    from pools p join facets f using (experiment, problem_id)
    where p.split = 'pool' group by all
), found as (
    select f.experiment, f.name, f.value, min(v.round) as first_round, count(distinct v.problem_id) as problems
    from verified v join facets f using (experiment, problem_id) group by all
)
select
    a.experiment,
    a.name as facet,
    a.value,
    s.name is not null as demonstrated,
    f.first_round,
    coalesce(f.problems, 0) as problems,
    a.pool
from asked a
left join found f using (experiment, name, value)
left join shown s using (experiment, name, value)
where ($experiment::varchar is null or a.experiment = $experiment) and ($facet::varchar is null or a.name = $facet)
order by a.experiment, a.name, demonstrated desc, f.first_round nulls last, a.value
