-- Verified programs that fail on fresh instances of their own problem, the worst first.
-- experiment = null: of this experiment only
select
    s.experiment,
    s.round,
    s.trajectory_id,
    v.family,
    v.composition,
    s.fresh,
    s.right,
    s.untold,
    v.question,
    v.response
from soundness s
join verified v using (experiment, trajectory_id)
where s.right + s.untold < s.fresh and ($experiment::varchar is null or s.experiment = $experiment)
order by s.right / s.fresh, s.experiment, s.round, s.trajectory_id
