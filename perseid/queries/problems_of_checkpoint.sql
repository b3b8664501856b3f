-- The problems that a checkpoint trained on: by its examples (policy, control) or by the pairs it read (PPM).
-- checkpoint = required: key of the checkpoint, such as quickstart/round_03/policy
-- version = null: its version, the current one if not given
-- reads all versions
with checkpoint as (
    select key, version from manifests
    where key = $checkpoint and ($version::varchar is null and current or version = $version)
), used as (
    select e.experiment, e.problem_id, e.source, e.from_round, e.weight
    from examples e join checkpoint using (key, version)
    where e.problem_id <> ''
    union all
    select p.experiment, p.problem_id, 'pair', p.round, p.weight
    from pairs p
    join lineage l on l.parent_key = p.key and l.parent_version = p.version
    join checkpoint c on c.key = l.child_key and c.version = l.child_version
    where p.split = 'train' and coalesce(l.role, 'pairs') = 'pairs'
), described as (
    select experiment, problem_id, string_agg(name || '=' || value, ', ' order by name) as facets from facets group by all
)
select
    u.problem_id,
    a.source as problem_source,
    d.facets,
    u.source,
    u.from_round,
    count(*) as rows,
    sum(u.weight) as weight,
    a.question
from used u
left join problems a using (experiment, problem_id)
left join described d using (experiment, problem_id)
group by all
order by u.source, u.from_round, u.problem_id
