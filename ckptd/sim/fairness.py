"""Max-min fair rates: how much of the network each flow gets.

Two pipes limit a flow, the egress of its source and the ingress of its receiver, and perhaps a
limit of its own. The rates are what TCP tends to give: nobody can have more without somebody
who has less getting less still.

Source: D. Bertsekas, R. Gallager, *Data Networks* (1992), section 6.5.2 (progressive filling).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from typing import Final

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
        fair_bytes_per_s: Its rate, as worked out last.
    """

    __slots__ = ("egress", "fair_bytes_per_s", "ingress", "limit_bytes_per_s")

    def __init__(self, egress: Pipe, ingress: Pipe) -> None:
        self.egress = egress
        self.ingress = ingress
        self.limit_bytes_per_s = math.inf
        self.fair_bytes_per_s = 0.0


def connected(touched: Iterable[Pipe], number: int) -> list[Pipe]:
    """Return the pipes that a change can concern: those joined to touched ones by flows.

    Args:
        touched: Where something changed.
        number: Names this reckoning; larger than that of any before.

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


def work_out(pipes: list[Pipe]) -> list[Share]:
    """Give every flow through some pipes its fair rate.

    Args:
        pipes: As returned by :func:`connected`: a flow through one of them has both its pipes
            among them.

    Returns:
        The flows, each with ``fair_bytes_per_s`` set.

    Cost: O(flows · log pipes).
    """
    shares: list[Share] = []
    limited: list[tuple[float, int, Share]] = []
    heap: list[tuple[float, int, Pipe]] = []
    for pipe in pipes:
        pipe.left_bytes_per_s = pipe.rate_bytes_per_s
        pipe.undecided = len(pipe.flows)
        if pipe.undecided:
            heap.append((pipe.rate_bytes_per_s / pipe.undecided, pipe.index, pipe))
        for share in pipe.flows:
            if share.egress is pipe:
                share.fair_bytes_per_s = _UNDECIDED
                if share.limit_bytes_per_s < pipe.rate_bytes_per_s:
                    limited.append((share.limit_bytes_per_s, len(shares), share))
                shares.append(share)
    heapq.heapify(heap)
    limited.sort(reverse=True)
    while heap:
        bound, index, pipe = heap[0]
        if limited and limited[-1][0] <= bound:
            limit, _, share = limited.pop()
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
    return shares


def _decide(share: Share, rate_bytes_per_s: float) -> None:
    share.fair_bytes_per_s = rate_bytes_per_s
    egress, ingress = share.egress, share.ingress
    egress.left_bytes_per_s -= rate_bytes_per_s
    egress.undecided -= 1
    ingress.left_bytes_per_s -= rate_bytes_per_s
    ingress.undecided -= 1
