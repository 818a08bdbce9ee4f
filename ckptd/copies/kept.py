"""Which versions of a checkpoint count: those of which copies are made.

The newest ones that are whole somewhere by a proven claim, so many as are kept; nothing that is
only claimed ever pushes them out. A newer one that lost part of its units is kept beside them, for
it may come back. And when saving outruns copying, the newest one that is nearer to what is asked
than all of them is finished first, or else none would ever be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from ckptd.copies.choosing import Company
from ckptd.copies.holders import LAST, Holders

RIVALS_MAX: Final = 2
"""So many contents of one version are kept: whoever makes up more of them gains nothing."""
SAFE_COUNT: Final = 2
"""A newer version has so many copies before an older one goes, if so many are asked."""


def kept_of(series: Iterable[Holders], keep: int) -> list[Holders]:
    """Return which versions of a checkpoint count, the most important first.

    Args:
        series: All of them, in any order.
        keep: How many whole ones are kept.
    """
    known = sorted(series, key=_newest_first)
    kept: list[Holders] = []
    parts: list[Holders] = []
    whole_count = 0
    older = iter(known)
    for _, rivals in groupby(older, key=lambda each: each.version.version):
        same = list(rivals)
        whole = [each for each in same if each.is_whole][:RIVALS_MAX]
        if whole:
            kept += whole
            whole_count += 1
        else:
            parts += [each for each in same if each.there][:1]
        if whole_count >= keep:
            break
    if not kept and not parts:
        return known if len(known) == 1 else []
    best = _furthest(known, kept)
    return [*best, *kept, *parts[:keep]]


def is_replaced(
    old: Holders, kept: Sequence[Holders], company: Company, *, is_full: bool = False
) -> bool:
    """Tell whether a newer version has as many copies as an older one, or as are asked.

    Args:
        old: The older one.
        kept: The newer ones.
        company: Who can take copies of this name.
        is_full: This node has no room for what it is to fetch, so the older one is in the way:
            then as many as there are nodes that can have one are enough, and never fewer than two.
    """
    return any(
        _is_as_safe(each, old, company if is_full else None)
        for each in kept
        if each.is_whole and each.version.version > old.version.version
    )


def _is_as_safe(newer: Holders, old: Holders, company: Company | None) -> bool:
    for criticality, count in newer.asked.items():
        needed = min(count, max(len(old.there_of(criticality)), SAFE_COUNT))
        if company is not None:
            able = len(newer.there.keys() | company.able.keys())
            needed = min(needed, max(able, SAFE_COUNT))
        if len(newer.there_of(criticality)) < needed:
            return False
    return bool(newer.there)


def _furthest(known: Sequence[Holders], kept: Sequence[Holders]) -> list[Holders]:
    """Return the older version that is nearer to what is asked than all newer ones, if one is."""
    older = [
        each
        for each in known
        if each not in kept
        and LAST in each.there.values()
        and (len(each.there) >= SAFE_COUNT or each.begun)
        and kept
        and each.version.version < kept[0].version.version
    ]
    best = max(older, key=_how_far, default=None)
    if best is None or any(_is_nearer(each, best) for each in kept):
        return []
    return [best]


def _is_nearer(newer: Holders, old: Holders) -> bool:
    return _how_far(newer)[0] >= _how_far(old)[0] or newer.is_as_asked()


def _how_far(holders: Holders) -> tuple[int, int]:
    begun = sum(node not in holders.there for node in holders.begun)
    return (len(holders.there) + begun, holders.version.version)


def _newest_first(holders: Holders) -> tuple[int, int, str]:
    return (-holders.version.version, -len(holders.there), holders.version.digest)
