-- Tokens and seconds that each stage of each round took, shards added up.
-- experiment = null: of this experiment only
select
    experiment,
    round,
    stage,
    count(*) as artifacts,
    sum(tokens)::bigint as tokens,
    sum(wall_s) as wall_s,
    sum(cpu_s) as cpu_s,
    sum(rows)::bigint as rows,
    sum(bytes)::bigint as bytes
from manifests
where $experiment::varchar is null or experiment = $experiment
group by all
order by experiment, round nulls first, min(created), stage
