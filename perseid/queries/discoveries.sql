-- The first round in which a family, or a composition on it, was verified, and whether the teacher had shown it.
-- experiment = null: of this experiment only
with shown as (
    select distinct p.experiment, p.family, p.composition
    from demonstrations d join problems p using (experiment, problem_id)
    where d.kind = 'demonstration'
), asked as (
    select experiment, family, composition, count(*) as pool
    from problems where split = 'pool' group by all
), found as (
    select experiment, family, composition, min(round) as first_round, count(distinct problem_id) as problems
    from verified group by all
)
select
    a.experiment,
    a.family,
    a.composition,
    s.family is not null as demonstrated,
    f.first_round,
    coalesce(f.problems, 0) as problems,
    a.pool
from asked a
left join found f using (experiment, family, composition)
left join shown s using (experiment, family, composition)
where $experiment::varchar is null or a.experiment = $experiment
order by a.experiment, demonstrated desc, f.first_round nulls last, a.family, a.composition
