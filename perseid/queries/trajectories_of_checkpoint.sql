-- The verified trajectories that trained a policy, each with the tree node and the problem it comes from.
-- checkpoint = required: key of the policy, such as quickstart/round_03/policy
-- version = null: its version, the current one if not given
-- reads all versions
with recursive checkpoint as (
    select key, version from manifests
    where key = $checkpoint and ($version::varchar is null and current or version = $version)
), ancestry as (
    select key, version from checkpoint
    union
    select l.parent_key, l.parent_version
    from ancestry a join lineage l on l.child_key = a.key and l.child_version = a.version
)
select
    e.from_round,
    e.trajectory_id,
    e.problem_id,
    v.family,
    v.composition,
    e.weight,
    v.rank,
    v.mean_q,
    t.node_id,
    t.key as trajectories_key,
    t.version as trajectories_version,
    v.question,
    v.response
from examples e
join checkpoint using (key, version)
join verified v on v.trajectory_id = e.trajectory_id and v.experiment = e.experiment and v.round = e.from_round
join trajectories t on t.trajectory_id = v.trajectory_id and t.experiment = v.experiment and t.round = v.round and t.correct
where (v.key, v.version) in (select (key, version) from ancestry)
    and (t.key, t.version) in (select (key, version) from ancestry)
order by e.from_round, e.problem_id, v.rank, t.key, t.node_id
