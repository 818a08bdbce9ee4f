"""What is short of a version, and why: for people and for alerts."""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.copies.choosing import Choice
from ckptd.copies.decided import Shortfall
from ckptd.copies.spread import missing_level, zones_by_level
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality, ShortBecause


def shortfalls(choice: Choice) -> Iterator[Shortfall]:
    """Yield what a version lacks, class by class, the most urgent first."""
    for criticality, count in sorted(choice.holders.asked.items()):
        found = _shortfall(choice, criticality, count)
        if found is not None:
            yield found


def _shortfall(choice: Choice, criticality: Criticality, count: int) -> Shortfall | None:
    holders = choice.holders
    there = holders.there_of(criticality)
    zones = [choice.zone_of(node) for node in there]
    if len(there) >= count:
        if missing_level(zones, _possible(choice), count) is None:
            return None
        why, nodes, until_ns = ShortBecause.ZONES, _coming(choice, criticality), None
    else:
        why, nodes, until_ns = _why(choice, criticality, is_there=bool(there))
    version = holders.version
    unproven = [node for node, (least, _) in holders.unproven.items() if least >= criticality]
    return Shortfall(
        checkpoint=version.checkpoint,
        version=version.version,
        digest=version.digest,
        criticality=criticality,
        asked=count,
        proven=len(there),
        claimed=len({*there, *unproven}),
        zones=zones_by_level(zones)[-1],
        why=why,
        nodes=tuple(sorted(nodes)),
        until_ns=until_ns,
    )


def _possible(choice: Choice) -> tuple[int, ...]:
    """Return in how many zones those are, level by level, who can take it and have room."""
    if not choice.refused:
        return choice.company.possible
    able = choice.company.able.items()
    return zones_by_level({zone for node, zone in able if node not in choice.refused})


def _why(
    choice: Choice, criticality: Criticality, *, is_there: bool
) -> tuple[ShortBecause, list[NodeId], int | None]:
    holders = choice.holders
    lost = {node: until for node, (least, until) in holders.lost.items() if least >= criticality}
    unproven = {
        node: until for node, (least, until) in holders.unproven.items() if least >= criticality
    }
    if not is_there and not lost and not unproven:
        return ShortBecause.SOURCES, [], None
    if criticality in choice.lacking:
        if choice.company.full or choice.refused:
            full = {*choice.company.full, *choice.refused} - choice.counting.keys()
            return ShortBecause.FULL, list(full), None
        return ShortBecause.MEMBERS, [], None
    if coming := _coming(choice, criticality):
        return ShortBecause.COMING, coming, None
    if lost:
        return ShortBecause.LOST, list(lost), min(lost.values())
    return ShortBecause.UNPROVEN, list(unproven), min(unproven.values(), default=None)


def _coming(choice: Choice, criticality: Criticality) -> list[NodeId]:
    return [node for node, each in choice.chosen.items() if each.least >= criticality]
