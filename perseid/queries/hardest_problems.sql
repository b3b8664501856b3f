-- Problems that search found hardest: unsolved first, then the fewest right answers, then the most tokens.
-- experiment = null: of this experiment only
-- limit = 20: so many rows at most
select
    s.experiment,
    s.round,
    s.problem_id,
    p.family,
    p.composition,
    s.solved,
    s.rollouts,
    s.answers,
    s.correct_answers,
    s.tokens,
    p.question
from searches s
join problems p using (experiment, problem_id)
where $experiment::varchar is null or s.experiment = $experiment
order by s.solved, s.correct_answers / greatest(s.answers, 1), s.tokens desc, s.experiment, s.round, s.problem_id
limit $limit::bigint
