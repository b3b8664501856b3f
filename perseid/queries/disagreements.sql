-- Answers that the PPM scored high and the grader found wrong, in evaluation and in search.
-- experiment = null: of this experiment only
-- threshold = 0.5: least score, in [-1, 1]
-- limit = 50: so many rows at most
with scored as (
    select experiment, round, 'evaluation' as seen_in, problem_id, arm || ' ' || decoding || ' ' || sample as name, answer, ppm as score
    from evaluations where ppm is not null and not correct
    union all
    select experiment, round, 'search', problem_id, node_id, answer, prior
    from nodes where prior is not null and status = 'answer' and not correct
), described as (
    select experiment, problem_id, string_agg(name || '=' || value, ', ' order by name) as facets from facets group by all
)
select
    s.experiment,
    s.round,
    s.seen_in,
    s.problem_id,
    p.source,
    d.facets,
    s.name,
    s.score,
    s.answer,
    g.answer ->> '$' as gold,
    p.question
from scored s
join problems p using (experiment, problem_id)
join gold g using (experiment, problem_id)
left join described d using (experiment, problem_id)
where s.score >= $threshold::double and ($experiment::varchar is null or s.experiment = $experiment)
order by s.score desc, s.experiment, s.round, s.problem_id, s.name
limit $limit::bigint
