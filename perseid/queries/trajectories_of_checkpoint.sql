-- The verified trajectories that trained a policy, each with the tree node and the problem it comes from.
-- checkpoint = required: key of the policy, such as quickstart/round_03/policy
-- version = null: its version, the current one if not given
-- reads all versions
with checkpoint as (
    select key, version from manifests
    where key = $checkpoint and ($version::varchar is null and current or version = $version)
), described as (
    select experiment, problem_id, string_agg(name || '=' || value, ', ' order by name) as facets from facets group by all
)
select
    e.from_round,
    e.trajectory_id,
    e.problem_id,
    d.facets,
    e.weight,
    v.rank,
    v.mean_q,
    t.node_id,
    t.key as trajectories_key,
    t.version as trajectories_version,
    v.question,
    v.response
from examples e
join checkpoint c using (key, version)
join lineage read on read.child_key = c.key and read.child_version = c.version
    and coalesce(read.role, 'verified') = 'verified'
join verified v on v.key = read.parent_key and v.version = read.parent_version and v.trajectory_id = e.trajectory_id
    and v.round = e.from_round
join lineage searched on searched.child_key = v.key and searched.child_version = v.version
    and coalesce(searched.role, 'trees') = 'trees'
join trajectories t on t.key = searched.parent_key and t.version = searched.parent_version
    and t.trajectory_id = v.trajectory_id and t.correct
left join described d on d.experiment = v.experiment and d.problem_id = v.problem_id
order by e.from_round, e.problem_id, v.rank, t.key, t.node_id
