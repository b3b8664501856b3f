"""A grader of a user's own, for the files that are mutated."""


def grade(question: str, gold: str, answers: list[str]) -> list[float]:
    return [1.0 if answer == gold else 0.25 for answer in answers]
