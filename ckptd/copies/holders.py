"""Who has how much of a version, and for what that counts.

A copy counts as *there* if it is proven and its node answers. Where it is to be decided whether
another one is needed, more counts for a while: what a lost node had, what is claimed and waits for
its audit, and what is being fetched, each for the grace time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ckptd.copies.counts import CopyCounts
from ckptd.copies.fleet import Claim, FleetNode, FleetVersion, FleetView
from ckptd.copies.memory import Memory
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality

LAST = max(Criticality)


@dataclass(slots=True, eq=False)
class Holders:
    """Who has how much of one version.

    Attributes:
        version: Of which.
        asked: Of each class that has units how many copies are asked, the least urgent first.
        there: Proven, on nodes that answer: the least urgent class that each has.
        lost: The same of nodes that do not answer, until when each counts.
        unproven: Claimed, not audited yet, until when each counts.
        doubted: Proven, on nodes that answer and were caught with something false since: they are
            asked, and do not count for long.
        begun: Who fetches it, or more of it than it claims: what each has whole by now.
    """

    version: FleetVersion
    asked: Mapping[Criticality, int]
    there: dict[NodeId, Criticality] = field(default_factory=dict)
    lost: dict[NodeId, tuple[Criticality, int]] = field(default_factory=dict)
    unproven: dict[NodeId, tuple[Criticality, int]] = field(default_factory=dict)
    doubted: dict[NodeId, Criticality] = field(default_factory=dict)
    begun: dict[NodeId, Criticality | None] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Somebody certainly has all that is required, or had it a moment ago."""
        lost = (least for least, _ in self.lost.values())
        return LAST in {*self.there.values(), *lost, *self.doubted.values()}

    def there_of(self, criticality: Criticality) -> list[NodeId]:
        """Return who certainly has the units of a class, and answers."""
        return [node for node, least in self.there.items() if least >= criticality]

    def has_source(self, criticality: Criticality) -> bool:
        """Tell whether somebody who answers claims the units of a class."""
        unproven = (least for least, _ in self.unproven.values())
        known = (*self.there.values(), *self.doubted.values(), *unproven)
        return any(least >= criticality for least in known)

    def is_as_asked(self) -> bool:
        """Tell whether there are as many copies as asked, wherever they are."""
        return all(len(self.there_of(each)) >= count for each, count in self.asked.items())

    def counting(self) -> dict[NodeId, Criticality]:
        """Return who counts where it is decided whether another copy is needed, and with what."""
        found = dict(self.there)
        for node, (least, _) in (*self.lost.items(), *self.unproven.items()):
            found[node] = max(least, found.get(node, least))
        return found


def asked_of(version: FleetVersion, counts: CopyCounts) -> dict[Criticality, int]:
    """Return how many copies are asked of each class that has units, the least urgent first.

    What has no bytes at all is asked for as if it was critical.
    """
    classes = [each for each in Criticality if version.sizes_bytes.get(each, 0)]
    return {each: counts.of(each) for each in reversed(classes or [Criticality.CRITICAL])}


def whole_class(version: FleetVersion, least: Criticality) -> Criticality:
    """Return the last class if there are no units behind a class, else that class itself."""
    behind = (size for each, size in version.sizes_bytes.items() if each > least)
    return least if any(behind) else LAST


def find_holders(
    version: FleetVersion, counts: CopyCounts, view: FleetView, memory: Memory, now: int
) -> Holders:
    """Find out who has how much of a version.

    Args:
        version: Which.
        counts: How many copies are asked for.
        view: What this node knows.
        memory: Since when who made no progress.
        now: The moment.
    """
    found = Holders(version, asked_of(version, counts))
    for claim, node in _known(version.claims, view.nodes):
        least = None if claim.least is None else whole_class(version, claim.least)
        if not node.is_live:
            if node.lost_since_ns is not None and least is not None and claim.is_proven:
                until = node.lost_since_ns + view.grace_ns
                if now < until and not node.is_blamed:
                    found.lost[claim.node] = (least, until)
            continue
        is_proven = claim.is_proven and not node.is_blamed
        if least is not None and is_proven:
            found.there[claim.node] = least
            if least is LAST:
                continue
        if least is not None and claim.is_proven and node.is_blamed:
            found.doubted[claim.node] = least
        is_more = claim.held_bytes > (0 if least is None else version.size_down_to(least))
        is_unproven = least is not None and not is_proven
        is_false = node.is_blamed and not claim.is_proven
        if is_false or not (is_more or is_unproven):
            continue
        since = memory.came(version.digest, claim.node, claim.held_bytes, now).since_ns
        if now >= since + view.grace_ns:
            continue
        if is_more and not node.is_blamed:
            found.begun[claim.node] = least
        if least is not None and is_unproven:
            found.unproven[claim.node] = (least, since + view.grace_ns)
    return found


def _known(
    claims: Iterable[Claim], nodes: Mapping[NodeId, FleetNode]
) -> Iterator[tuple[Claim, FleetNode]]:
    for claim in claims:
        node = nodes.get(claim.node)
        if node is not None:
            yield claim, node
