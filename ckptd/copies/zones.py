"""Zones: what fails together, from the widest to the narrowest, such as ``row-1/rack-7``.

A zone that is not known, or not in full, is taken for the one that would be worst: a node of
``row-1`` may be in ``row-1/rack-7``, and one of which nothing is known may be anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from ckptd.errors import UsageError

ZONE_LEVELS_MAX: Final = 4
ZONE_NAME_CHARACTERS_MAX: Final = 64

Zone: TypeAlias = tuple[str, ...]
"""Names of levels, the widest first; ``()``: not known."""

_LEVEL: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{ZONE_NAME_CHARACTERS_MAX}}}", re.ASCII)


def parse_zone(text: str) -> Zone:
    """Read a zone as people write it; an empty text stands for one that is not known.

    Raises:
        UsageError: It is none.
    """
    if not text:
        return ()
    levels = tuple(text.split("/", ZONE_LEVELS_MAX + 1))
    if len(levels) > ZONE_LEVELS_MAX or not all(map(_LEVEL.fullmatch, levels)):
        raise UsageError(
            f"zone {text[:64]!r}",
            f"is not 1 to {ZONE_LEVELS_MAX} names joined by '/', the widest first",
            f"Write row-1/rack-7; a name is at most {ZONE_NAME_CHARACTERS_MAX} letters, digits, "
            "'.', '_' and '-'.",
        )
    return levels


def zone_text(zone: Zone) -> str:
    """Return a zone as people write it; empty if it is not known."""
    return "/".join(zone)


def together(one: Zone, other: Zone) -> int:
    """Return how many levels two nodes share at worst: 0 if they have nothing in common.

    :data:`ZONE_LEVELS_MAX` stands for all that is known to be shared, or may be: the same zone, one
    inside the other, or one that is not known.
    """
    for level, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return level
    return ZONE_LEVELS_MAX


def zones_at(zones: Iterable[Zone], level: int) -> frozenset[Zone]:
    """Return the zones that are certainly different ones, down to a level.

    Args:
        zones: Those of some nodes.
        level: 1 looks at the widest names only.
    """
    cut = {zone[:level] for zone in zones}
    wider = {zone[:length] for zone in cut for length in range(len(zone))}
    return frozenset(cut - wider)
