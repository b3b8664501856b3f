-- The checkpoints that ever trained on a problem, replaced ones included.
-- problem_id = required: id of the problem
-- experiment = null: of this experiment only
-- reads all versions
with used as (
    select key, version, source, trajectory_id as row_id from examples where problem_id = $problem_id
    union all
    select l.child_key, l.child_version, 'pair', p.pair_id
    from pairs p
    join lineage l on l.parent_key = p.key and l.parent_version = p.version
    where p.problem_id = $problem_id and p.split = 'train' and coalesce(l.role, 'pairs') = 'pairs'
)
select
    m.experiment,
    m.round,
    m.stage,
    m.key,
    m.version,
    m.current,
    u.source,
    count(*) as rows,
    list(u.row_id order by u.row_id) filter (where u.row_id is not null) as row_ids
from used u
join manifests m using (key, version)
where $experiment::varchar is null or m.experiment = $experiment
group by all
order by m.experiment, m.round, m.stage, m.version, u.source
