"""When a copy of this node may go: never before the others are whole, and one node at a time.

A copy is too much if the others would still be as many as asked, of each class that it has, in as
many zones. Who may still lose one is not agreed on: each node waits for its turn instead. The last
one in the order of the name goes first, when the same others have been too many for the grace time;
the one before it waits a little longer, and begins again when it sees that somebody went. So two
go at a time only if news take longer than that from one to the other, and each asks before it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ckptd.copies.choosing import Company
from ckptd.copies.fleet import FleetView
from ckptd.copies.holders import Holders
from ckptd.copies.memory import Memory
from ckptd.copies.ordering import partner, score
from ckptd.copies.spread import is_as_spread
from ckptd.limits import SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality

INTERVAL_NS: Final = 60 * SECOND
"""Between two nodes that may give one version back: more than twice what news take, that there is
a copy and that one went. Never longer than the grace time."""
INTERVAL_NS_MIN: Final = 5 * SECOND


def is_surplus(
    holders: Holders, company: Company, view: FleetView, memory: Memory, now: int
) -> bool:
    """Tell whether this node's copy of a version may go, because there are too many.

    Args:
        holders: Who has it.
        company: Who keeps copies of this name.
        view: What this node knows.
        memory: Since when just these others are enough.
        now: The moment.
    """
    own = holders.there.get(view.own)
    if own is None:
        return False
    others = {
        node: least
        for node, least in holders.there.items()
        if node != view.own and not view.nodes[node].is_blamed
    }
    zone = view.nodes[view.own].zone
    for criticality, count in holders.asked.items():
        if criticality > own:
            continue
        have = [view.nodes[node].zone for node, least in others.items() if least >= criticality]
        # The last one that has a class stays, though nobody asks for it.
        if len(have) < max(count, 1) or not is_as_spread(have, zone, count):
            return False
    since = memory.surplus_of(holders.version.digest, frozenset(others.items()), now)
    after = _after(holders, company, view, others)
    return now >= since + view.grace_ns + after * interval_of(view)


def interval_of(view: FleetView) -> int:
    """Return after how long everybody knows what happened, if nobody is cut off."""
    return max(min(view.grace_ns, INTERVAL_NS), INTERVAL_NS_MIN)


def _after(
    holders: Holders, company: Company, view: FleetView, others: Mapping[NodeId, Criticality]
) -> int:
    """Return how many of the others are to go before this node: first who has most of it."""
    name = holders.version.checkpoint
    members = frozenset(company.members)
    everybody = {*others, view.own}

    def precedence(node: NodeId) -> tuple[Criticality, bool, int]:
        is_partner = view.pair is not None and any(
            partner(other, company.members, view.pair) == node for other in everybody - {node}
        )
        return (holders.there[node], not is_partner, score(name, node))

    own = precedence(view.own)
    return sum(precedence(node) > own for node in others if node in members)
