"""Chooses who takes the copies that a version lacks; every node chooses in the same way.

From what is least urgent to what is most: who has that has the rest as well. Of those that can take
it: who fetches it already, who shares the fewest zone levels with those that have it, and of equals
the first one in the order of the name. Who has a part of it grows, unless the more urgent class
lacks a copy anyway: then a new one takes all, so that nobody has more than is asked.

Who was chosen and shows nothing for the grace time is passed over, and asked again only when there
is nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

from ckptd.copies.fleet import FleetView
from ckptd.copies.holders import Holders, whole_class
from ckptd.copies.memory import Memory, Progress
from ckptd.copies.ordering import Rankings, partner, score
from ckptd.copies.spread import NOBODY, Crowd, crowd, missing_level, zones_by_level
from ckptd.copies.zones import Zone
from ckptd.model.ids import NodeId
from ckptd.model.words import CopiedBecause, Criticality

Closeness: TypeAlias = tuple[Crowd, Crowd]
"""To those that have a class, then to all that have anything of the version."""
_Key: TypeAlias = tuple[bool, bool, bool, Closeness, bool, bool, int]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who is to have what of a version.

    Attributes:
        node: Who.
        least: The least urgent class that it is to have.
        why: What for.
    """

    node: NodeId
    least: Criticality
    why: CopiedBecause


@dataclass(frozen=True, slots=True)
class Company:
    """Those who keep copies of some names, as far as they can take one now.

    Attributes:
        members: All of them.
        able: Those that answer, are not blamed and have room, and where each is.
        full: Those that only lack room.
        zones_count: In how many zones the able ones are, known or not.
        possible: In how many zones they certainly are, level by level.
    """

    members: tuple[NodeId, ...]
    able: Mapping[NodeId, Zone]
    full: tuple[NodeId, ...]
    zones_count: int
    possible: tuple[int, ...]


def company_of(members: tuple[NodeId, ...], view: FleetView) -> Company:
    """Return who of the members of a name can take copies.

    This node counts as able here; whether it has room is seen for each version.

    Cost: O(n).
    """
    able: dict[NodeId, Zone] = {}
    full: list[NodeId] = []
    for each in members:
        node = view.nodes.get(each)
        if node is None or not node.is_live or node.is_blamed:
            continue
        if node.is_full and each != view.own:
            full.append(each)
        else:
            able[each] = node.zone
    zones = set(able.values())
    return Company(members, able, tuple(full), len(zones), zones_by_level(zones))


class Crowds:
    """How close nodes of each zone are to those that have a class, and to all that have anything.

    Args:
        have: Where those are that have it.
        others: Where all are.
    """

    def __init__(self, have: Sequence[Zone], others: Sequence[Zone]) -> None:
        self._have = have
        self._others = others
        self._known: dict[Zone, Closeness] = {}
        self._least: Closeness | None = None

    def of(self, zone: Zone) -> Closeness:
        """Return how close a node of a zone is; less is better."""
        found = self._known.get(zone)
        if found is None:
            found = self._known[zone] = (crowd(zone, self._have), crowd(zone, self._others))
            self._least = found if self._least is None else min(found, self._least)
        return found

    def is_least(self, closeness: Closeness, zones_count: int) -> bool:
        """Tell whether nobody can be less close, of nodes in so many zones."""
        if closeness == (NOBODY, NOBODY):
            return True
        return len(self._known) >= zones_count and closeness == self._least


@dataclass(slots=True)
class Choice:
    """The choice for one version, while it is made.

    Attributes:
        holders: Who has what.
        company: Who can take a copy.
        view: What this node knows.
        rankings: In which order nodes are asked.
        memory: Since when those that were chosen show nothing.
        now: The moment.
        refused: This node, if it has no room.
        counting: Who has what, with those that are chosen.
        chosen: Who is to have what.
        lacking: Classes that lack copies which nobody can take.
    """

    holders: Holders
    company: Company
    view: FleetView
    rankings: Rankings
    memory: Memory
    now: int
    refused: frozenset[NodeId] = frozenset()
    counting: dict[NodeId, Criticality] = field(default_factory=dict)
    chosen: dict[NodeId, Chosen] = field(default_factory=dict)
    lacking: set[Criticality] = field(default_factory=set)

    def make(self) -> None:
        """Choose who takes what is missing.

        Cost: O(copies²), and O(copies · n) where no zone without a copy has anybody able.
        """
        self.counting = self.holders.counting()
        for criticality, count in self.holders.asked.items():
            if not self.holders.has_source(criticality):
                continue
            have = [node for node, least in self.counting.items() if least >= criticality]
            while len(have) < count:
                taken = self._best(criticality, have)
                if taken is None:
                    self.lacking.add(criticality)
                    break
                have.append(taken)
                self._take(taken, criticality, CopiedBecause.MISSING)
            self._spread(criticality, have, count)

    def zone_of(self, node: NodeId) -> Zone:
        """Return where a node is, as far as this one knows."""
        known = self.view.nodes.get(node)
        return () if known is None else known.zone

    def _spread(self, criticality: Criticality, have: list[NodeId], count: int) -> None:
        """Choose more, while there are fewer zones with a copy than there could be."""
        for _ in range(count):
            zones = [self.zone_of(node) for node in have]
            level = missing_level(zones, self.company.possible, count)
            if level is None or not have:
                return
            taken = self._best(criticality, have, below=level)
            if taken is None:
                return
            have.append(taken)
            self._take(taken, criticality, CopiedBecause.ZONES)

    def _take(self, node: NodeId, criticality: Criticality, why: CopiedBecause) -> None:
        if self.counting.get(node) is not None:
            why = CopiedBecause.GROWS
        least = whole_class(self.holders.version, criticality)
        self.counting[node] = least
        self.chosen[node] = Chosen(node, least, why)
        version = self.holders.version
        self.memory.choose(version.digest, node, least, version.held_bytes(node), self.now)

    def _best(
        self, criticality: Criticality, have: Sequence[NodeId], below: int | None = None
    ) -> NodeId | None:
        """Return who takes a copy next.

        Args:
            criticality: Of which class.
            have: Who has it.
            below: Only who shares fewer levels than this with each of those.
        """
        crowds = Crowds(list(map(self.zone_of, have)), list(map(self.zone_of, self.counting)))
        is_new_better = below is None and self._is_lacking_above(criticality)
        partners = self._partners(have)
        asked = self._asked()
        few = {*self.holders.begun, *self.counting, *partners, *asked}
        without = {*have, *self.refused}
        name = self.holders.version.checkpoint
        found: list[tuple[_Key, NodeId]] = []
        for node in few - without:
            zone = self.company.able.get(node)
            if zone is None or (below is not None and crowds.of(zone)[0][0] >= below):
                continue
            before = asked[node].chosen if node in asked else None
            key = (
                node in asked and self._is_passed(node),
                before is None or before < criticality,
                node not in self.holders.begun or before is not None,
                crowds.of(zone),
                (node in self.counting or before is not None) is is_new_better,
                node not in partners,
                score(name, node),
            )
            found.append((key, node))
        new = self._first_new(crowds, few | without, below)
        if new is not None:
            closeness = crowds.of(self.company.able[new])
            rank = score(name, new)
            key = (self._is_passed(new), True, True, closeness, not is_new_better, True, rank)
            found.append((key, new))
        best = min(found, default=None)
        return None if best is None or (best[0][0] and below is not None) else best[1]

    def _first_new(
        self, crowds: Crowds, known: AbstractSet[NodeId], below: int | None
    ) -> NodeId | None:
        """Return who comes first of those that have nothing and were not asked for anything."""
        best: NodeId | None = None
        best_closeness: Closeness | None = None
        passed: NodeId | None = None
        able, count = self.company.able, self.company.zones_count
        for node in self.rankings.of(self.holders.version.checkpoint, self.company.members):
            zone = able.get(node)
            if zone is None or node in known:
                continue
            closeness = crowds.of(zone)
            if below is not None and closeness[0][0] >= below:
                continue
            if best_closeness is not None and best_closeness <= closeness:
                continue
            if self._is_passed(node):
                passed = node if passed is None else passed
                continue
            best, best_closeness = node, closeness
            if crowds.is_least(closeness, count):
                break
        return passed if best is None else best

    def _asked(self) -> dict[NodeId, Progress]:
        """Return who was chosen, or came by itself, and has not brought what it was chosen for."""
        there = self.holders.there
        return {
            node: each
            for node, each in self.memory.asked(self.holders.version.digest).items()
            if each.chosen is None or node not in there or there[node] < each.chosen
        }

    def _is_passed(self, node: NodeId) -> bool:
        """Tell whether a node was asked, or claims something, and shows nothing for long."""
        found = self.memory.look_at(self.holders.version.digest, node)
        return found is not None and self.now >= found.since_ns + self.view.grace_ns

    def _is_lacking_above(self, criticality: Criticality) -> bool:
        """Tell whether a more urgent class lacks a copy, so that somebody new comes anyway."""
        return any(
            sum(least >= each for least in self.counting.values()) < count
            for each, count in self.holders.asked.items()
            if each < criticality
        )

    def _partners(self, have: Iterable[NodeId]) -> frozenset[NodeId]:
        if self.view.pair is None:
            return frozenset()
        found = (partner(node, self.company.members, self.view.pair) for node in have)
        return frozenset(node for node in found if node is not None)
