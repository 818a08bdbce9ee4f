"""What this node can take in, by what it took in."""

from __future__ import annotations

from typing import Final, NamedTuple

from ckptd.daemon.recover.recovering import Recovering
from ckptd.limits import MIB
from ckptd.model.words import Result

_LONG_BYTES: Final = 64 * MIB
"""What brought less was over before it was fast."""


class Absorbing(NamedTuple):
    """How fast versions came here.

    Attributes:
        recoveries: So many of the last recoveries were long enough to say …
        brought_bytes_per_s: … how fast the fastest of them was, with its writing; ``None``: none.
        peer: Which path delivers fastest; empty: that was not measured of any.
        peer_bytes_per_s: How fast that one delivers.
    """

    recoveries: int
    brought_bytes_per_s: float | None
    peer: str
    peer_bytes_per_s: float | None


def absorbing_of(recovering: Recovering) -> Absorbing:
    """Return how fast versions came here, by the last recoveries and what was learned of peers.

    Args:
        recovering: Knows both.
    """
    brought = [
        (each.received_bytes - each.wasted_bytes) / each.duration_s
        for each in recovering.book.ended()
        if each.result is Result.COMPLETE
        and each.received_bytes - each.wasted_bytes >= _LONG_BYTES
        and each.duration_s > 0
    ]
    rates = recovering.scheduler.learned_rates(now=recovering.runtime.now())
    best = max(rates, key=lambda path: rates[path].bytes_per_s, default=None)
    return Absorbing(
        len(brought),
        max(brought, default=None),
        best or "",
        None if best is None else rates[best].bytes_per_s,
    )
