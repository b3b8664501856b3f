"""Progress of a run in that run's own log."""

import dagster as dg

from assets.work import Report
from orchestration.resources import LoggedProgress, line_of


def test_progress_stands_in_the_log_of_the_run_that_makes_it() -> None:
    progress = LoggedProgress(every_s=0.0)

    @dg.asset
    def searched() -> None:
        progress(Report("x/round_01/trajectories/000", 5, 20, "problems", solved=3, tokens=1000))

    with dg.instance_for_test() as instance:
        result = dg.materialize([searched], instance=instance)
        log = [event.user_message for event in instance.all_logs(result.run_id)]
    assert [line for line in log if "5/20 problems · 60 % solved" in line] != []


def test_a_line_says_what_the_command_line_says_and_lines_are_far_between() -> None:
    report = Report("x/round_01/policy", 100, 150, "steps")
    assert line_of(report, 2.0) == "x/round_01/policy: 100/150 steps"
    searched = Report("x/round_01/trajectories/000", 0, 20, "problems", solved=0, tokens=5000)
    assert line_of(searched, 2.0) == "x/round_01/trajectories/000: 0/20 problems · 2,500 tokens/s"
    progress = LoggedProgress(every_s=60.0)
    for done in range(100):
        progress(Report("x/round_01/policy", done, 150, "steps"))
    assert progress.told == progress.began
