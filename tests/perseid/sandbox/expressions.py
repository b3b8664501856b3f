"""Strategies for short programs at the edges of what the two tiers share: patterns, formats, texts, numbers, slices."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_INTEGERS = ["0", "1", "-1", "7", "-7", "255", "2**63", "-(2**64)", "10**20", "True", "100"]
_FLOATS = ["0.5", "-0.0", "1e16", "1e-7", "2.675", "1/3", "float('inf')", "float('nan')", "3.0", "123456.789", "5e-324"]
_TEXTS = [
    "'abc'",
    "''",
    "'Hello World'",
    "'a,b;c'",
    "'  x '",
    "'12'",
    "'-3'",
    "'1_000'",
    "'0x1f'",
    "'ab\\tc\\nd'",
    "'ééß'",
]
_TEXTS += ["'1e5'", "'\\u0663'", "' 7\\n'", '"it\'s"', "'%d'"]
_LISTS = [
    "[]",
    "[3, 1, 2]",
    "['b', 'a']",
    "[[1, 2], [0]]",
    "list(range(10))",
    "[None]",
    "[-1, 5, 5, 2]",
    "'hello'",
    "(1, 2, 3)",
]
_METHODS = """
    upper() title() capitalize() swapcase() strip() split() split(',') splitlines() partition(' ') replace('a','XY')
    replace('','-') find('b') index('a') count('a') count('') startswith('a') isdigit() isalpha() isalnum() isspace()
    isnumeric() isdecimal() istitle() zfill(6) center(9) ljust(7,'.') join(['1','2']) casefold() expandtabs(4) encode()
    removeprefix('a') isprintable() rindex('z') split('l',1) splitlines(True)
""".split()
_FUNCTIONS = "sqrt floor ceil trunc log log2 log10 exp atan fabs factorial isqrt degrees isnan gamma modf frexp".split()
_ATOMS = [
    "a",
    "b",
    "\\d",
    "\\w",
    "\\s",
    ".",
    "[a-c]",
    "[^a]",
    "[\\d.]",
    "\\.",
    "(a)",
    "(?:ab)",
    "(a|b)",
    "(?:a|bc)",
    "^",
]
_ATOMS += ["\\b", "(\\d+)", "([a-z]+)", " ", ",", "$", "[a&&b]", "[[:alpha:]]", "\\101", "(?a)", "(?i)", "\\Z", "(?=a)"]
_SUBJECTS = [
    "ab12 ab, a-b",
    "aAbB01 xx",
    "12.5 and 3.75 -7",
    "",
    "a",
    "aab abab",
    "x=1, y=22\\n",
    "foo_bar baz9",
    "é1\\u0663",
]

numbers = st.sampled_from(_INTEGERS + _FLOATS)
texts, lists = st.sampled_from(_TEXTS), st.sampled_from(_LISTS)
_atoms = st.tuples(st.sampled_from(_ATOMS), st.sampled_from(["", "", "", "+", "?", "*", "{2}", "{1,2}", "+?"])).map(
    "".join
)
_pieces = st.lists(_atoms, min_size=1, max_size=4).map("".join)
_regexes = st.one_of(_pieces, _pieces, st.tuples(_pieces, st.just("|"), _pieces | st.just("")).map("".join))
_ends = st.sampled_from(["", "1", "-2", "-9", "9"])
_slices = st.tuples(_ends, st.just(":"), _ends, st.just(":"), st.sampled_from(["", "2", "-1", "-2"])).map("".join)
_marks = [
    ["", "<", "^", ">", "=", "*^", "0"],
    ["", "+", " "],
    ["", "#"],
    ["", "8", "12"],
    ["", ",", "_"],
    ["", ".0", ".2", ".5"],
]
_formats = st.tuples(*map(st.sampled_from, [*_marks, ["", "d", "f", "g", "e", "x", "b", "o", "%", "s", "n", "c"]])).map(
    "".join
)


def _line(form: str, *parts: SearchStrategy[str]) -> SearchStrategy[str]:
    return st.tuples(*parts).map(lambda drawn: form.format(*drawn))


programs = st.one_of(
    _line(
        "import re\nprint(re.{}(r'{}', '{}'))",
        st.sampled_from(["findall", "split"]),
        _regexes,
        st.sampled_from(_SUBJECTS),
    ),
    _line("import re\nprint(re.sub(r'{}', '_', '{}'))", _regexes, st.sampled_from(_SUBJECTS)),
    _line(
        "import re\nm = re.{}(r'{}', '{}')\nprint(m.groups() if m else None, m.span() if m else 0)",
        st.sampled_from(["search", "match", "fullmatch"]),
        _regexes,
        st.sampled_from(_SUBJECTS),
    ),
    _line("print(format({}, '{}'))", numbers | texts, _formats),
    _line(
        "print('%{}{}' % ({},))",
        st.sampled_from(["", "-5", "+", "05.2", ".2"]),
        st.sampled_from("dfgesxr"),
        numbers | texts,
    ),
    _line("print(repr({}.{}))", texts, st.sampled_from(_METHODS)),
    _line("print(({})[{}])", texts | lists, _slices),
    _line(
        "print({}({}))",
        st.sampled_from(["int", "float", "str", "bool", "list", "sorted", "len", "max"]),
        texts | numbers,
    ),
    _line("print({} {} {})", numbers, st.sampled_from("+ - * / // % & | ^ < == != and or".split()), numbers),
    _line("print(round({}, {}))", numbers, st.sampled_from(["0", "1", "2", "-1", "None"])),
    _line("print(pow({}, {}, {}))", *[st.sampled_from(["3", "-2", "7", "-1", "0", "10"])] * 3),
    _line("import math\nprint(math.{}({}))", st.sampled_from(_FUNCTIONS), numbers),
    _line(
        "print(sorted({}{}))",
        lists,
        st.sampled_from(["", ", reverse=True", ", key=str", ", key=len", ", key=lambda v: -v"]),
    ),
    _line(
        "v = list({})\nv{}\nprint(v)",
        lists,
        st.sampled_from(["[1:2] = [9, 9]", ".pop(0)", ".remove(1)", ".sort()", "[5] = 1"]),
    ),
    _line("try:\n    print(int({}))\nexcept ValueError:\n    print('no')", texts),
)
