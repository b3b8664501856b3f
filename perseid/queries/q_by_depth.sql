-- Average Q of the visited nodes by round and depth, with the share of nodes that failed.
-- experiment = null: of this experiment only
select
    experiment,
    round,
    depth,
    count(*) as nodes,
    count(*) filter (where visits > 0) as visited,
    avg(q) filter (where visits > 0) as mean_q,
    avg((status = 'error')::int) as failed,
    avg((status = 'answer')::int) as answers
from nodes
where depth > 0 and ($experiment::varchar is null or experiment = $experiment)
group by all
order by experiment, round, depth
