"""Which known names are spelled most like one that is not known, for a person who mistyped it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Final

NEAREST_SHOWN: Final = 3
"""How many names a sentence gives."""

_COMPARED_MAX: Final = 200
"""So many are compared letter by letter, a few milliseconds in all; a cluster knows very many."""


def nearest_names(wanted: str, names: Iterable[str], count: int = NEAREST_SHOWN) -> tuple[str, ...]:
    """Return the names that are spelled most like one, the most similar first.

    Args:
        wanted: What somebody typed.
        names: What is known; each counts once.
        count: How many to return at most.

    Cost: O(n) for n names, and a comparison of letters for a few of them.
    """

    def alike_at_the_ends(name: str) -> tuple[int, str]:
        return _common(wanted, name) + _common(wanted[::-1], name[::-1]), name

    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)

    def likeness(name: str) -> tuple[float, str]:
        matcher.set_seq1(name)
        return -matcher.ratio(), name

    compared = heapq.nlargest(_COMPARED_MAX, set(names), key=alike_at_the_ends)
    return tuple(heapq.nsmallest(count, compared, key=likeness))


def _common(one: str, other: str) -> int:
    """Return how many letters two words have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
