"""A generator of small programs in the manner of a model's solution steps, for comparing the two tiers."""

# ruff: noqa: E501, RUF005

from __future__ import annotations

import random
from collections.abc import Callable

Make = Callable[[random.Random], str]


def program(seed: int) -> str:
    """The program of `seed`: two to six blocks over a few variables, each printing what it found."""
    draw = random.Random(seed)
    lines = [f"a, b = {draw.randint(-20, 40)}, {draw.randint(1, 25)}", f"x = {_float(draw)}", f"s = {_text(draw)!r}"]
    lines += [f"v = {[draw.randint(-9, 30) for _ in range(draw.randint(0, 8))]}", f"d = {_table(draw)}"]
    lines += [draw.choice(BLOCKS)(draw) for _ in range(draw.randint(2, 6))]
    return "\n".join(lines) + "\n"


def _float(draw: random.Random) -> str:
    return draw.choice([repr(round(draw.uniform(-50, 50), draw.randint(0, 6))), "0.1", "2.675", "1e-7", "3.0", "1e16"])


def _text(draw: random.Random) -> str:
    return draw.choice(["", "Hello, World", "a b  c", "12,7,-3", "x=1;y=22", "Ünïcode ß", "aAbB01", "tab\tnew"])


def _table(draw: random.Random) -> dict[str, int]:
    return {draw.choice("abcdxyz") * draw.randint(1, 2): draw.randint(-5, 99) for _ in range(draw.randint(0, 5))}


def _int(draw: random.Random) -> str:
    return draw.choice(["a", "b", "len(v)", "len(s)", str(draw.randint(-7, 12)), "sum(v)", "(a + b)", "abs(a - b)"])


def _number(draw: random.Random) -> str:
    return draw.choice([_int(draw), "x", "x * b", "a / b", "-x", "float(a)", "(a - x)"])


def _arithmetic(draw: random.Random) -> str:
    operator = draw.choice(["+", "-", "*", "/", "//", "%"])
    return f"print({_number(draw)} {operator} {_number(draw)})"


def _integers(draw: random.Random) -> str:
    expression = draw.choice(
        ["{0} & {1}", "{0} | {1}", "{0} ^ {1}", "~{0}", "{0} << abs({1}) % 70", "{0} >> abs({1}) % 5", "divmod({0}, b)"]
        + [
            "pow({0}, abs({1}) % 40)",
            "pow(abs({0}), abs({1}) % 9, 97)",
            "{0} ** 2 // (abs({1}) + 1)",
            "bin({0})",
            "hex({1})",
        ]
        + ["int(str({0}) * 3 if {0} > 0 else '7')", "2 ** 100 + {0}", "(10 ** 30) % (abs({0}) + 7)", "max({0}, {1}, b)"]
    )
    return f"print({expression.format(_int(draw), _int(draw))})"


def _floats(draw: random.Random) -> str:
    number = _number(draw)
    return draw.choice(
        [
            f"print(round({number}, {draw.randint(0, 5)}))",
            f"print(round({number}))",
            f"print(f'{{{number}:.{draw.randint(0, 6)}f}}')",
        ]
        + [f"print('%.{draw.randint(0, 4)}f|%5d|%s' % ({number}, a, s))", f"print(int({number}), float({number}))"]
        + [
            f"print('{{:>8.2f}}|{{:<6}}|{{:^7}}'.format({number}, a, b))",
            f"print(abs({number}), {number} == {_number(draw)})",
        ]
        + [f"print(str({number}), repr({number}), min({number}, x))", f"print(f'{{{number}:,.2f}}', f'{{{number}:e}}')"]
        + [f"print(f'{{{number}:10.3g}}|{{a:05d}}|{{a:+d}}|{{b:x}}|{{b:b}}')", f"print(sum([{number}, 0.1, 0.2]))"]
    )


def _mathematics(draw: random.Random) -> str:
    call = draw.choice(
        [
            "sqrt(abs({0}))",
            "floor({0})",
            "ceil({0})",
            "gcd(a, b)",
            "lcm(abs(a), b)",
            "factorial(abs({1}) % 25)",
            "comb(9, b % 9)",
        ]
        + [
            "log(abs({0}) + 1)",
            "log2(b)",
            "exp(-abs({0}) % 3)",
            "sin({0})",
            "cos(0)",
            "pi * b",
            "hypot(a, b)",
            "isqrt(abs({1}))",
        ]
        + [
            "isclose({0}, x)",
            "trunc({0})",
            "fsum([0.1] * 10)",
            "prod(v)",
            "atan2(a, b)",
            "degrees(1)",
            "perm(7, b % 7)",
            "inf",
        ]
    )
    return f"import math\nprint(math.{call.format(_number(draw), _int(draw))})"


def _lists(draw: random.Random) -> str:
    return draw.choice(
        [
            "print(sorted(v), sorted(v, reverse=True), sorted(v, key=lambda n: (n % 3, n)))",
            "print(v[::-1], v[1:3], v[-2:], v * 2)",
        ]
        + [
            "print([n * n for n in v if n % 2], {n % 3 for n in v} == {0, 1, 2})",
            "print(list(map(str, v)), list(filter(None, v)))",
        ]
        + [
            "v.append(a)\nv.extend([1, 2])\nv.insert(0, b)\nprint(v, v.index(b), v.count(1))",
            "print(list(zip(v, v[1:])))",
        ]
        + [
            "print([[i * j for j in range(3)] for i in range(2)])",
            "print(any(n > 5 for n in v), all(n > 0 for n in v))",
        ]
        + [
            "w = v[:]\nw.sort()\nw.reverse()\nprint(w, v is w, v == w)",
            "print(list(enumerate(v, 1)), list(range(a, b, 3)))",
        ]
        + [
            "first, *rest = [a, *v]\nprint(first, rest)",
            "print(max(v, default=None), min(v + [a]), sum(v) / (len(v) or 1))",
        ]
        + ["while v and v[-1] < 20:\n    v.pop()\nprint(v)", "print(v[99])", "print(v.pop(0))", "v.remove(a)\nprint(v)"]
        + ["for n in v:\n    if n > 25:\n        break\nelse:\n    print('none')", "print([*v, *range(2)], len({*v}))"]
    )


def _texts(draw: random.Random) -> str:
    return draw.choice(
        [
            "print(s.upper(), s.lower(), s.title(), s.strip(), s.swapcase())",
            "print(s.split(), s.split(','), ','.join(s))",
        ]
        + ["print(s.replace('a', 'Z'), s.find('o'), s.count('l'), s[::-1])", "print([int(t) for t in s.split(',')])"]
        + ["print(s.startswith('a'), s.endswith('d'), s.isdigit(), s.isalpha())", "print(repr(s), s.encode(), len(s))"]
        + [
            "print(s.partition('='), s.rpartition(' '), s.zfill(15), s.center(20, '*'))",
            "print(ord(s[0]), chr(97 + b % 26))",
        ]
        + [
            "print(''.join(sorted(set(s))), s * 2, s in 'Hello, World!')",
            "print(s.splitlines(), s.ljust(14) + '|', s.rjust(14))",
        ]
        + [
            "print(f'{s!r:>20}|{a:>4}|{x!s}')",
            "print(int('0x1f', 16), int('101', 2), int(' 42 '), float('1e3'))",
            "print(int(s))",
        ]
        + ["print('abc' < 'abd', min(s or 'z'), s.index('q'))", "print('\\n'.join(c for c in s if c.isalnum()))"]
    )


def _tables(draw: random.Random) -> str:
    return draw.choice(
        [
            "print(d, list(d), list(d.values()), sorted(d.items(), key=lambda p: (-p[1], p[0])))",
            "print(d.get('a'), d.get('q', 0))",
        ]
        + [
            "for key, value in d.items():\n    print(key, value)",
            "d['new'] = a\nd.update({'b': 1})\nprint(d, 'new' in d, len(d))",
        ]
        + [
            "print({k: n * 2 for k, n in d.items() if n > 0})",
            "print(d.setdefault('z', []), d.pop('z'), d)",
            "print(d['missing'])",
        ]
        + [
            "print({**d, 'k': None}, d | {'a': 0})",
            "print(max(d, key=d.get) if d else 'empty')",
            "print(dict(zip('abc', v)))",
        ]
        + [
            "from collections import Counter\nprint(Counter(s.lower()).most_common(2))",
            "print(sorted({1, 2, 3} & set(v)))",
        ]
        + [
            "from collections import defaultdict\ng = defaultdict(list)\nfor n in v:\n    g[n % 3].append(n)\nprint(dict(g))"
        ]
    )


def _functions(draw: random.Random) -> str:
    return draw.choice(
        [
            "def fact(n):\n    return 1 if n < 2 else n * fact(n - 1)\nprint(fact(b))",
            "def f(p, q=2, *r, **k):\n    return p, q, r, k\nprint(f(1), f(1, 3, 4, z=5))",
        ]
        + [
            "def fib(n, memo={}):\n    if n < 2:\n        return n\n    if n not in memo:\n        memo[n] = fib(n - 1) + fib(n - 2)\n    return memo[n]\nprint(fib(40))"
        ]
        + [
            "def counter():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n        return n\n    return up\nc = counter()\nprint(c(), c())"
        ]
        + [
            "from functools import reduce\nprint(reduce(lambda p, q: p * q, range(1, b % 9 + 2), 1))",
            "print((lambda p, *, q: p - q)(a, q=b))",
        ]
        + [
            "from itertools import combinations, permutations, product\nprint(list(combinations('abc', 2)), len(list(permutations(range(4)))))"
        ]
        + [
            "def primes(n):\n    return [p for p in range(2, n) if all(p % q for q in range(2, int(p ** 0.5) + 1))]\nprint(primes(b * 3))"
        ]
        + [
            "def g(n):\n    while n != 1:\n        n = n // 2 if n % 2 == 0 else 3 * n + 1\n    return 'done'\nprint(g(b))",
            "print((n := a + b) * n)",
        ]
        + [
            "class P:\n    def __init__(self, n):\n        self.n = n\n    def double(self):\n        return self.n * 2\np = P(a)\np.n += 1\nprint(p.double())"
        ]
        + [
            "def outer(n):\n    return n / (n - n)\nprint(outer(b))",
            "print(sorted(v, key=abs), max(range(3), key=lambda n: -n))",
        ]
    )


def _errors(draw: random.Random) -> str:
    risky = draw.choice(
        ["a / 0", "v[50]", "d['none']", "int('x')", "[] + 1", "undefined", "'a' + 1", "None.x", "(1, 2)[5]"]
    )
    kind = draw.choice(
        ["ZeroDivisionError", "IndexError", "KeyError", "ValueError", "Exception", "(TypeError, NameError)"]
    )
    return draw.choice(
        [
            f"try:\n    print({risky})\nexcept {kind} as error:\n    print(type(error).__name__)\nfinally:\n    print('end')"
        ]
        + [f"print({risky})", f"assert {_int(draw)} > 0, 'not positive'", "raise ValueError(f'bad {a}')"]
        + [f"try:\n    print({risky})\nexcept {kind} as error:\n    print(error)"]
    )


BLOCKS: list[Make] = [_arithmetic, _integers, _floats, _mathematics, _lists, _texts, _tables, _functions, _errors]
