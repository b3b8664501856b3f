"""Whether an answer is right: a file a kind of answer."""

from perseid.graders.grader import Asked, Grader, Verdict
from perseid.graders.judge import Judge
from perseid.graders.kinds import BUILT_IN, equivalent, opened, unreadable

__all__ = ["BUILT_IN", "Asked", "Grader", "Judge", "Verdict", "equivalent", "opened", "unreadable"]
