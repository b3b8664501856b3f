"""The library that the quickstart's programs call: readers turn a question into data, functions turn data into data.

The policy knows these names and no more; which of them solve which questions it must discover. The file is plain
Python without imports beyond `math`, `re`, `datetime` and `decimal`, because both tiers of the sandbox load its text
as prelude. A tool refuses what it is not made for with `ValueError`: a step that cannot run ends its branch.
"""

import datetime
import decimal
import math
import re

LEGS = {
    **dict.fromkeys(["snake", "sea slug", "jellyfish", "flatworm", "leech"], 0),
    **dict.fromkeys(["chicken", "bird", "human", "duck"], 2),
    **dict.fromkeys(["dog", "cat", "cow", "horse", "elephant", "lion", "tiger", "deer", "sheep", "giraffe"], 4),
    **dict.fromkeys(["ant", "butterfly", "beetle", "bee", "wasp", "grasshopper", "cricket", "cockroach"], 6),
    **dict.fromkeys(["insect", "praying mantis", "firefly"], 6),
    **dict.fromkeys(["spider", "scorpion"], 8),
    **dict.fromkeys(["crab", "lobster", "shrimp"], 10),
    "starfish": 5,
    "woodlouse": 14,
}


def numbers(q):
    """Every whole number of a question."""
    return _some([int(n) for n in re.findall(r"\d+", q)])


def decimals(q):
    """Every number with a decimal point."""
    return _some([decimal.Decimal(n) for n in re.findall(r"\d+\.\d+", q)])


def expression(q):
    """A sum, difference or product of numbers: its terms and signs, as text."""
    return _some(re.findall(r"-?[\d.]*\d(?: [+*-] -?[\d.]*\d)+", q))[-1]


def word(q):
    """The word after the colon."""
    return _some(re.findall(r": ([A-Za-z]+)$", q))[0]


def words(q):
    """The list of words after the colon."""
    return _some(re.findall(r": (.*, .*)$", q))[0].split(", ")


def quotes(q):
    """Every quoted text."""
    return _some(re.findall(r'"([^"]*)"', q))


def equation(q):
    """The two sides of an equation in one unknown."""
    term = r"(?:\d+\*[a-z]|\d+|[a-z])"
    sides = _some(re.findall(r" (" + term + r"(?: [+-] " + term + r")*) = (-?\d+)", q))[0]
    return {"left": sides[0], "right": int(sides[1])}


def animals(q):
    """How many there are of each animal."""
    found = re.findall(r"(\d+) ([a-z]+(?: [a-z]+)?)(?=[,?.]|$)", q)
    return _some([{"count": int(count), "animal": animal} for count, animal in found])


def times(q):
    """Every clock time, in seconds since midnight."""
    return _some([3600 * int(h) + 60 * int(m) + int(s) for h, m, s in re.findall(r"(\d+):(\d+):(\d+)", q)])


def date(q):
    """The date, written as month, day and year."""
    months = "January February March April May June July August September October November December".split()
    name, day, year = _some(re.findall(r"([A-Z][a-z]+) (\d+), (\d+)", q))[0]
    return datetime.date(int(year), months.index(name) + 1, int(day))


def prod(x):
    return math.prod(_integers(x, 2))


def gcd(x):
    return math.gcd(*_integers(x, 2))


def lcm(x):
    return math.lcm(*_integers(x, 2))


def total(x):
    return sum(_integers(x, 1))


def largest(x):
    return max(_integers(x, 2))


def smallest(x):
    return min(_integers(x, 2))


def lowest(x):
    a, b = _integers(x, 2, 2)
    return str(a // math.gcd(a, b)) + "/" + str(b // math.gcd(a, b))


def primes(x):
    low, high = _integers(x, 2, 2)
    return [n for n in range(_small(low, 3000), _small(high, 3000) + 1) if _prime(n)]


def factors(x):
    n, found, p = _small(_one(x), 10**6), [], 2
    while n > 1 and p * p <= n:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return found + ([n] if n > 1 else [])


def binary(x):
    return bin(_one(x))[2:]


def ones(x):
    return bin(_one(x)).count("1")


def digits(x):
    return [int(d) for d in str(_one(x))]


def double(x):
    return 2 * _one(x)


def square(x):
    return _small(_one(x), 10**8) ** 2


def value(x):
    found = re.findall(r"(^|[+*-] )?(-?[\d.]+)", _text(x))
    terms = [decimal.Decimal(found[0][1])]
    for sign, number in found[1:]:
        term = decimal.Decimal(number)
        if sign == "* ":
            terms[-1] = terms[-1] * term
        else:
            terms.append(-term if sign == "- " else term)
    result = sum(terms)
    return result if "." in x else int(result)


def root(x):
    if type(x) is not dict or "left" not in x:
        raise ValueError("expected an equation")
    slope, constant = 0, 0
    for sign, term in re.findall(r"([+-]?) ?([\da-z*]+)", x["left"]):
        number = re.findall(r"\d+", term)
        amount = (-1 if sign == "-" else 1) * (int(number[0]) if number else 1)
        if re.findall(r"[a-z]", term):
            slope += amount
        else:
            constant += amount
    return (x["right"] - constant) // slope


def legs(x):
    if type(x) is not list or type(x[0]) is not dict:
        raise ValueError("expected animals")
    return [kind["count"] * _legs_of(kind["animal"]) for kind in x]


def occurrences(x):
    if type(x) is not list or len(x) != 2 or type(x[0]) is not str:
        raise ValueError("expected a letter and a text")
    return x[1].lower().count(x[0].lower())


def backward(x):
    if type(x) is int:
        return int(str(_large(x, 10))[::-1])
    if type(x) not in (str, list):
        raise ValueError("expected a text, a list or a number")
    return x[::-1]


def ascending(x):
    return sorted(_list(x, 3))


def descending(x):
    return sorted(_list(x, 3), reverse=True)


def length(x):
    if type(x) not in (str, list):
        raise ValueError("expected a text or a list")
    return len(x)


def commas(x):
    return ", ".join([str(part) for part in _list(x)])


def crosses(x):
    return " × ".join([str(part) for part in _list(x)])


def span(x):
    start, end = _integers(x, 2, 2)
    return abs(end - start)


def clock(x):
    seconds = _one(x)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def weekday(x):
    if type(x) in (int, str, list, dict, decimal.Decimal):
        raise ValueError("expected a date")
    return "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()[x.weekday()]


def remaining(x):
    if type(x) is not list or type(x[0]) is not decimal.Decimal:
        raise ValueError("expected decimal numbers")
    return int(180 * (len(x) - 1) - sum(x))


def id(x):
    """Refuses: where an object lies differs from run to run, and an answer made of it could not be repeated."""
    raise ValueError("an address is no data")


hash = id


def _some(found):
    if len(found) == 0:
        raise ValueError("the question has none")
    return found


def _integers(x, least, most=99):
    if type(x) is not list or not least <= len(x) <= most or type(x[0]) is not int:
        raise ValueError("expected whole numbers")
    return x


def _one(x):
    if type(x) is list and len(x) == 1:
        x = x[0]
    if type(x) is not int or x < 0:
        raise ValueError("expected one whole number")
    return x


def _small(n, limit):
    if n > limit:
        raise ValueError("too large")
    return n


def _large(n, least):
    if n < least:
        raise ValueError("too small")
    return n


def _text(x):
    if type(x) is not str:
        raise ValueError("expected a text")
    return x


def _list(x, least=1):
    if type(x) is not list or len(x) < least or type(x[0]) not in (int, str):
        raise ValueError("expected a list")
    return x


def _prime(n):
    return n > 1 and all(n % p for p in range(2, math.isqrt(n) + 1))


def _legs_of(animal):
    for name in (animal, animal[:-1], animal[:-2]):
        if name in LEGS:
            return LEGS[name]
    raise ValueError("an unknown animal")
