"""What is verified, kept from becoming one thing: a policy that learns from its own answers drifts to its commonest.

Programs are told apart by the operation that makes what they print. Of a kind that has more than its part, those are
left out that rank last within their problem, by their names where they rank alike: no problem loses its best one before
another has lost its second best.
"""

from collections import Counter
from collections.abc import Mapping


def surplus(kinds: Mapping[str, str], ranks: Mapping[str, int], times: float) -> list[str]:
    """Names to leave out, so that no kind has more than `times` the mean of the kinds, and one at least.

    kinds, ranks: by name; rank 1 is the best of its problem. In the order in which they are left out.
    """
    counts = Counter(kinds.values())
    most = max(1, int(times * len(kinds) / max(1, len(counts))))
    left_out = list[str]()
    for kind in sorted(counts):
        ordered = sorted((name for name in kinds if kinds[name] == kind), key=lambda name: (ranks[name], name))
        left_out += reversed(ordered[most:])
    return left_out
