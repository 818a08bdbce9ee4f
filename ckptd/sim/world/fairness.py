"""Rates: how much of the network each flow gets, max-min fair among those whose turn it is.

Two pipes limit a flow, the egress of its source and the ingress of its receiver, and perhaps a
limit of its own. The rates are what TCP tends to give: no flow can have more without another one
that has less getting less still.

But a source lets less urgent bodies give way to more urgent ones (``net.source.giving_way``).
So first the most urgent flows of every source share the network, then the next ones of every
source what these leave of it, and so on. Those that wait for their turn have a trickle, so that
nobody at the other end takes waiting for death. The real source finds out what is left, in a
second or two; here that is known at once.

Source: D. Bertsekas, R. Gallager, *Data Networks* (1992), section 6.5.2 (progressive filling).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Final

from ckptd.model.words import Urgency
from ckptd.traffic.allowance import ALLOWANCE_MIN_BYTES_PER_S

_SAME: Final = 1 + 1e-9
"""Shares that differ by less than this factor are one share."""

_UNDECIDED: Final = -1.0


class Pipe:
    """One direction of a node's connection to the network.

    Attributes:
        index: Place in the order of pipes; decides between equal shares.
        rate_bytes_per_s: What it carries at most.
        flows: The flows through it, in the order in which they came.
        left_bytes_per_s: While rates are worked out: what is not given away.
        undecided: While rates are worked out: how many flows have no rate yet.
        round: The last time rates were worked out that concerned it.
    """

    __slots__ = ("flows", "index", "left_bytes_per_s", "rate_bytes_per_s", "round", "undecided")

    def __init__(self, index: int, rate_bytes_per_s: float) -> None:
        self.index = index
        self.rate_bytes_per_s = rate_bytes_per_s
        self.flows: dict[Share, None] = {}
        self.left_bytes_per_s = 0.0
        self.undecided = 0
        self.round = 0


class Share:
    """What one flow gets.

    Attributes:
        egress: The pipe out of its source.
        ingress: The pipe into its receiver.
        limit_bytes_per_s: What it takes at most, however much room there is.
        urgency: Its class; at its source the more urgent ones go first.
        fair_bytes_per_s: Its rate, as worked out last.
    """

    __slots__ = ("egress", "fair_bytes_per_s", "ingress", "limit_bytes_per_s", "urgency")

    def __init__(self, egress: Pipe, ingress: Pipe) -> None:
        self.egress = egress
        self.ingress = ingress
        self.limit_bytes_per_s = math.inf
        self.urgency = Urgency.NORMAL
        self.fair_bytes_per_s = 0.0


def connected(touched: Iterable[Pipe], number: int) -> list[Pipe]:
    """Return the pipes that a change can concern: those joined to touched ones by flows.

    Args:
        touched: Where something changed.
        number: Of this calculation; larger than any before.

    Cost: O(flows through the pipes returned).
    """
    found: list[Pipe] = []
    for pipe in touched:
        if pipe.round != number:
            pipe.round = number
            found.append(pipe)
    for pipe in found:  # grows while it is walked
        for share in pipe.flows:
            for other in (share.egress, share.ingress):
                if other.round != number:
                    other.round = number
                    found.append(other)
    return found


def work_out(pipes: Sequence[Pipe]) -> list[Share]:
    """Give every flow through some pipes its rate.

    Args:
        pipes: As returned by :func:`connected`: a flow through one of them has both its pipes
            among them.

    Returns:
        The flows, each with ``fair_bytes_per_s`` set.

    Cost: O(flows · log pipes), once for each class if a source sends several.
    """
    shares: list[Share] = []
    limited: list[Share] = []
    mixed: dict[Pipe, None] = {}
    for pipe in pipes:
        rate = pipe.left_bytes_per_s = pipe.rate_bytes_per_s
        pipe.undecided = len(pipe.flows)
        urgency = None
        for share in pipe.flows:
            if share.egress is pipe:
                share.fair_bytes_per_s = _UNDECIDED
                shares.append(share)
                if share.limit_bytes_per_s < rate:
                    limited.append(share)
                if share.urgency is not urgency:
                    if urgency is not None:
                        mixed[pipe] = None
                    urgency = share.urgency
    turns = [_let_wait(egress) for egress in mixed]
    _fill(pipes, limited)
    for turn in zip_longest(*turns, fillvalue=()):
        waiting = list(chain.from_iterable(turn))
        for share in waiting:
            _reconsider(share)
        _fill(pipes, waiting)
    return shares


def _let_wait(egress: Pipe) -> list[list[Share]]:
    """Give a trickle to the flows that are not the most urgent of a source.

    Returns:
        These flows, class by class.
    """
    classes: dict[Urgency, list[Share]] = {}
    for share in egress.flows:
        classes.setdefault(share.urgency, []).append(share)
    _, *turns = [classes[urgency] for urgency in sorted(classes)]
    trickle = ALLOWANCE_MIN_BYTES_PER_S / sum(map(len, turns))
    for share in chain.from_iterable(turns):
        fair = min(pipe.rate_bytes_per_s / len(pipe.flows) for pipe in (egress, share.ingress))
        _decide(share, min(trickle, fair, share.limit_bytes_per_s))
    return turns


def _fill(pipes: Iterable[Pipe], limited: Iterable[Share]) -> None:
    """Give the flows that have no rate yet a fair one of what the pipes have left.

    Args:
        pipes: All of them.
        limited: The flows that have a limit of their own; may name others, too.
    """
    limits = [(share.limit_bytes_per_s, place, share) for place, share in enumerate(limited)]
    limits.sort(reverse=True)
    heap = [
        (max(pipe.left_bytes_per_s, 0.0) / pipe.undecided, pipe.index, pipe)
        for pipe in pipes
        if pipe.undecided
    ]
    heapq.heapify(heap)
    while heap:
        bound, index, pipe = heap[0]
        if limits and limits[-1][0] <= bound:
            limit, _, share = limits.pop()
            if share.fair_bytes_per_s == _UNDECIDED:
                _decide(share, limit)
            continue
        heapq.heappop(heap)
        if not pipe.undecided:
            continue
        level = max(pipe.left_bytes_per_s, 0.0) / pipe.undecided
        if level > bound * _SAME:  # others through it got less: it has more for the rest
            heapq.heappush(heap, (level, index, pipe))
            continue
        for share in pipe.flows:
            if share.fair_bytes_per_s == _UNDECIDED:
                _decide(share, level)


def _decide(share: Share, rate_bytes_per_s: float) -> None:
    share.fair_bytes_per_s = rate_bytes_per_s
    egress, ingress = share.egress, share.ingress
    egress.left_bytes_per_s -= rate_bytes_per_s
    egress.undecided -= 1
    ingress.left_bytes_per_s -= rate_bytes_per_s
    ingress.undecided -= 1


def _reconsider(share: Share) -> None:
    """Take back what was decided."""
    for pipe in (share.egress, share.ingress):
        pipe.left_bytes_per_s += share.fair_bytes_per_s
        pipe.undecided += 1
    share.fair_bytes_per_s = _UNDECIDED
