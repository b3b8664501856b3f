"""The quickstart's task families: `reasoning-gym` generators, several wordings of each, and the program that solves it.

The numbers, words and answers are reasoning-gym's; the wordings are ours, so that a question is one short line and
one wording a family can be held out (the last one). `solution` names the tools in order. Only the teacher reads it,
for the demonstrated families and for the drills; for all others it stands here to be tested, and no stage of a round
sees it. Ranges are chosen so that a wrong program is seldom right by chance (`least` drops the smallest answers);
what remains is measured on fresh instances after every round.
"""

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Entry = dict[str, Any]  # one reasoning-gym entry: question, answer, metadata


@dataclass(frozen=True)
class Family:
    """`wordings` are templates of one slot; all but the last are used in training."""

    name: str
    generator: str
    config: dict[str, Any]
    slot: Callable[[Entry], str]
    wordings: tuple[str, ...]
    solution: tuple[str, ...]
    kind: str  # what the question asks for: a value, or a value or word in one form
    integer: bool = False  # the answer is a whole number >= 0, so that compositions apply
    least: int = 2  # smallest answer kept, of integer families
    reach: int = 10**9  # about the largest answer
    keep: Callable[[Entry], bool] = lambda item: True


@dataclass(frozen=True)
class Composition:
    """Something further asked of a family's whole-number answer."""

    name: str
    wording: str
    solution: tuple[str, ...]
    kind: str
    answer: Callable[[int], str]
    least: int = 31  # smallest and
    limit: int = 10**9  # largest inner answer it is asked of


def _after_colon(item: Entry) -> str:
    return str(item["question"]).strip().rsplit(": ", 1)[1].split(". Give")[0]


def _numbers(item: Entry) -> str:
    return ", ".join(str(n) for n in item["metadata"]["numbers"])


def _animals(item: Entry) -> str:
    return str(item["question"]).strip().split("if you have ")[1].rstrip("?")


def _primes(item: Entry) -> str:
    return f"{item['metadata']['start']} and {item['metadata']['end']}"


def _date(item: Entry) -> str:
    day = datetime.date.fromisoformat(item["metadata"]["target_date"])
    return f"{day:%B} {day.day}, {day.year}"


def _times(item: Entry) -> str:
    return " and ".join(item["metadata"][key].split(" ")[1][:8] for key in ("start_time", "end_time"))


def _angles(item: Entry) -> str:
    return ", ".join(f"{float(angle):.1f}" for angle in item["metadata"]["known_angles"])


def _words(item: Entry) -> str:
    return ", ".join(item["metadata"]["original_words"])


def _sorted(direction: str) -> Callable[[Entry], bool]:
    return lambda item: item["metadata"]["direction"] == direction


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "products",
            "products",
            {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 3},
            lambda item: str(item["metadata"]["expression"]),
            (
                "Solve the following multiplication: {}",
                "Multiply these factors: {}",
                "What does the multiplication {} give?",
                "Carry out the multiplication {}",
            ),
            ("numbers", "prod"),
            "number",
            integer=True,
            least=50,
            keep=lambda item: _lcm(item) != int(item["answer"]),
        ),
        Family(
            "gcd",
            "gcd",
            {"min_numbers": 2, "max_numbers": 2, "max_value": 400},
            _numbers,
            (
                "Find the Greatest Common Divisor (GCD) of these numbers: {}",
                "What is the greatest divisor that {} have in common?",
                "GCD of {}",
                "Which greatest common divisor do {} have?",
            ),
            ("numbers", "gcd"),
            "number",
            integer=True,
            least=11,
            reach=30,
            keep=lambda item: int(item["answer"]) != min(item["metadata"]["numbers"]),
        ),
        Family(
            "chain_sum",
            "chain_sum",
            {"min_terms": 3, "max_terms": 5, "min_digits": 1, "max_digits": 3},
            lambda item: str(item["metadata"]["expression"]),
            (
                "State the final answer to the following arithmetic problem: {}",
                "Compute the sum {}",
                "Work out the arithmetic {}",
                "What is the answer to the arithmetic problem {}",
            ),
            ("expression", "value"),
            "number",
            integer=True,
            least=50,
            keep=lambda item: " - " in item["metadata"]["expression"],
        ),
        Family(
            "spell_backward",
            "spell_backward",
            {"min_word_len": 4},
            lambda item: str(item["metadata"]["word"]),
            (
                "Spell this word backward: {}",
                "Write the letters in reverse: {}",
                "Reverse the spelling: {}",
                "Spell in reverse this word: {}",
            ),
            ("word", "backward"),
            "text",
            keep=lambda item: item["answer"] != item["metadata"]["word"],
        ),
        Family(
            "word_sequence_reversal",
            "word_sequence_reversal",
            {"min_words": 5, "max_words": 7},
            _after_colon,
            (
                "Reverse this list of words: {}",
                "Give these words from last to first: {}",
                "Turn the order of the list around: {}",
                "List these words in reverse: {}",
            ),
            ("words", "backward", "commas"),
            "text",
        ),
        Family(
            "lcm",
            "lcm",
            {"min_numbers": 3, "max_numbers": 3, "max_value": 60},
            _numbers,
            (
                "Find the Least Common Multiple (LCM) of these numbers: {}",
                "What is the least multiple that {} share?",
                "LCM of {}",
                "Which least common multiple do {} have?",
            ),
            ("numbers", "lcm"),
            "number",
            integer=True,
            least=20,
            keep=lambda item: int(item["answer"]) not in (_product(item), max(item["metadata"]["numbers"])),
        ),
        Family(
            "to_binary",
            "base_conversion",
            {"min_base": 2, "max_base": 10, "min_value": 100, "max_value": 5000},
            lambda item: str(item["metadata"]["source_repr"]),
            (
                "Convert the decimal number {} to binary",
                "Write the number {} in base two",
                "Binary form of {}",
                "What is the number {} in binary?",
            ),
            ("numbers", "binary"),
            "text",
            keep=lambda item: (item["metadata"]["source_base"], item["metadata"]["target_base"]) == (10, 2),
        ),
        Family(
            "count_primes",
            "count_primes",
            {"min_n": 1, "max_n": 800},
            _primes,
            (
                "Count how many prime numbers there are between {}",
                "How many primes lie between {}?",
                "Number of primes between {}",
                "Tell the count of prime numbers between {}",
            ),
            ("numbers", "primes", "length"),
            "number",
            integer=True,
            least=20,
        ),
        Family(
            "decimal_chain_sum",
            "decimal_chain_sum",
            {"min_terms": 2, "max_terms": 4, "max_digits": 2, "max_decimal_places": 2},
            lambda item: str(item["metadata"]["expression"]),
            (
                "Add up these decimal numbers: {}",
                "Decimal arithmetic: {}",
                "Give the exact decimal result of {}",
                "Which decimal number is {}",
            ),
            ("expression", "value"),
            "decimal",
            keep=lambda item: " - " in item["metadata"]["expression"],
        ),
        Family(
            "simple_equations",
            "simple_equations",
            {"min_terms": 2, "max_terms": 2, "max_value": 99},
            lambda item: str(item["metadata"]["equation"]),
            (
                "Solve the equation {}",
                "Find the unknown: {}",
                "Which value solves {}",
                "Determine the unknown of the equation {}",
            ),
            ("equation", "root"),
            "number",
            integer=True,
            least=31,
        ),
        Family(
            "leg_counting",
            "leg_counting",
            {"min_animals": 3, "max_animals": 4},
            _animals,
            (
                "How many legs are there in total if you have {}?",
                "Count the legs of {}",
                "Legs of all these animals together: {}",
                "How many legs do you count on {}?",
            ),
            ("animals", "legs", "total"),
            "number",
            integer=True,
            least=40,
        ),
        Family(
            "prime_factorization",
            "prime_factorization",
            {"min_value": 12, "max_value": 900},
            lambda item: str(item["metadata"]["number"]),
            (
                "Find the prime factorization of {}",
                "Write {} as a product of primes",
                "Prime factors of {}",
                "Which prime factorization has {}",
            ),
            ("numbers", "factors", "crosses"),
            "text",
            keep=lambda item: "×" in item["answer"],
        ),
        Family(
            "fraction_simplification",
            "fraction_simplification",
            {"max_value": 60, "min_factor": 2, "max_factor": 20, "styles": ["plain"]},
            lambda item: f"{item['metadata']['numerator']}/{item['metadata']['denominator']}",
            (
                "Simplify the fraction {} to its lowest terms",
                "Reduce the fraction {}",
                "Lowest terms of {}",
                "What is the fraction {} in lowest terms?",
            ),
            ("numbers", "lowest"),
            "fraction",
            keep=lambda item: "1" not in str(item["answer"]).split("/"),
        ),
        Family(
            "time_intervals",
            "time_intervals",
            {"task_types": ["time_seconds"]},
            _times,
            (
                "What is the duration between {}?",
                "Calculate the time difference between {}",
                "How much time passes between {}?",
                "Give the time difference between {}",
            ),
            ("times", "span", "clock"),
            "text",
        ),
        Family(
            "sort_ascending",
            "word_sorting",
            {"min_words": 5, "max_words": 7},
            _words,
            (
                "Sort these words in ascending order: {}",
                "Put into ascending ASCII order: {}",
                "Ascending order of the words: {}",
                "Order these words, ascending: {}",
            ),
            ("words", "ascending", "commas"),
            "text",
            keep=_sorted("ascending"),
        ),
        Family(
            "sort_descending",
            "word_sorting",
            {"min_words": 5, "max_words": 7},
            _words,
            (
                "Sort these words in descending order: {}",
                "Put into descending ASCII order: {}",
                "Descending order of the words: {}",
                "Order these words, descending: {}",
            ),
            ("words", "descending", "commas"),
            "text",
            keep=_sorted("descending"),
        ),
        Family(
            "weekday",
            "calendar_arithmetic",
            {"tasks": ["weekday_of_date"]},
            _date,
            (
                "What day of the week was {}?",
                "On which weekday did {} fall?",
                "Name the weekday of {}",
                "Which day of the week fell on {}?",
            ),
            ("date", "weekday"),
            "text",
        ),
        Family(
            "polygon_angle",
            "simple_geometry",
            {"max_sides": 5},
            _angles,
            (
                "A convex polygon has these interior angles, and one more: {}",
                "Find the missing interior angle beside {}",
                "Remaining angle of the polygon: {}",
                "Which interior angle of the polygon is missing beside {}",
            ),
            ("decimals", "remaining"),
            "number",
            integer=True,
            least=32,
        ),
    )
}

COMPOSITIONS = {
    composition.name: composition
    for composition in (
        Composition("double", "Then double it.", ("double",), "number", lambda n: str(2 * n)),
        Composition("square", "Then square it.", ("square",), "number", lambda n: str(n * n), limit=10**4),
        Composition("binary", "Then write it in binary.", ("binary",), "text", lambda n: bin(n)[2:], limit=10**6),
        Composition("reverse", "Then reverse its digits.", ("backward",), "number", lambda n: str(int(str(n)[::-1]))),
        Composition(
            "double_square",
            "Then square it and double the result.",
            ("square", "double"),
            "number",
            lambda n: str(2 * n * n),
            limit=10**4,
        ),
    )
}


def _product(item: Entry) -> int:
    return math.prod(item["metadata"]["numbers"])


def _lcm(item: Entry) -> int:
    return math.lcm(*(int(factor) for factor in item["metadata"]["expression"].split(" * ")))
