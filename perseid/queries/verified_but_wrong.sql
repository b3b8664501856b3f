-- Verified programs that fail on fresh instances of their own problem, the worst first.
-- experiment = null: of this experiment only
with described as (
    select experiment, problem_id, string_agg(name || '=' || value, ', ' order by name) as facets from facets group by all
)
select
    s.experiment,
    s.round,
    s.trajectory_id,
    v.problem_id,
    d.facets,
    s.fresh,
    s.right,
    s.untold,
    v.question,
    v.response
from soundness s
join verified v using (experiment, trajectory_id)
left join described d on d.experiment = v.experiment and d.problem_id = v.problem_id
where s.right + s.untold < s.fresh and ($experiment::varchar is null or s.experiment = $experiment)
order by s.right / s.fresh, s.experiment, s.round, s.trajectory_id
