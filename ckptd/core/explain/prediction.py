"""How long a recovery will take, said before it begins.

The model is the scheduler's own order of work: one class of blocks after the other, each taken
from all of its live holders at once, each holder at the rate it has shown, in this life or before.
What is not known is not guessed: without rates there is no prediction, and it says whose are
missing. What was known long ago counts for less, and it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from ckptd.core.report.learned_rate import FRESH_NS
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, PathId
from ckptd.model.quantities import format_age
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality

_SOURCES_NAMED_MAX: Final = 5
"""How many sources a sentence names."""


@dataclass(frozen=True, slots=True)
class Need:
    """Blocks of one class that have to come.

    Attributes:
        criticality: How urgent they are; ``None`` without a manifest.
        blocks: Which; empty if all of the class are here.
        size_bytes: Length of those.
    """

    criticality: Criticality | None
    blocks: BlockSet
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Supply:
    """What one source can give of a version.

    Attributes:
        path: Who, and on which path.
        blocks: What it holds.
        rate_bytes_per_s: How fast it delivers, as far as that is believed; 0 while that is not
            known.
        latency_ns: Time to the first byte; 0 while that is not known.
        age_ns: How long ago it was so fast.
    """

    path: PathId
    blocks: BlockSet
    rate_bytes_per_s: float
    latency_ns: int = 0
    age_ns: int = 0

    def times(self, factor: float) -> Supply:
        """Return the same from a source that is so many times as fast."""
        if factor == 1.0:
            return self
        return replace(self, rate_bytes_per_s=self.rate_bytes_per_s * factor)


@dataclass(frozen=True, slots=True)
class Prediction:
    """When a recovery will be how far, from the moment at which blocks begin to travel.

    Attributes:
        critical_ns: When the last critical block will be here; ``None``: cannot be said, or
            there is none.
        complete_ns: When the last block will be here; ``None``: cannot be said.
        remark: Why it cannot be said, or what was left out, for a person; empty if there is
            nothing to remark.
    """

    critical_ns: int | None
    complete_ns: int | None
    remark: str


def needs_of(space: AddressSpace, class_ends: Sequence[int], missing: BlockSet) -> list[Need]:
    """Return what is missing of each class, the most urgent first.

    Args:
        space: The version.
        class_ends: Where its classes end, as :meth:`AddressSpace.class_ends` says.
        missing: The blocks that are not here.
    """
    needs = []
    for start, end in pairwise((0, *class_ends)):
        blocks = missing & BlockSet(((start, end),))
        criticality = space.manifest.units[space.unit_of(start)].criticality
        needs.append(Need(criticality, blocks, space.set_bytes(blocks)))
    return needs


def need_of_unknown(holding: Holding, missing: BlockSet) -> Need:
    """Return what is missing of a version whose manifest is not here: only totals are known."""
    size_bytes = holding.size_bytes * len(missing) // max(holding.block_count, 1)
    return Need(None, missing, size_bytes)


def supplies_of(state: State, digest: Digest, *, now: int) -> list[Supply]:
    """Return what the live holders of a version can give that are trusted."""
    return [
        supply_of(state, peer, peer.holdings[digest].blocks, now=now)
        for peer in state.sources()
        if peer.is_live and digest in peer.holdings and peer.standing.quarantined_until_ns <= now
    ]


def supply_of(state: State, peer: Peer, blocks: BlockSet, *, now: int) -> Supply:
    """Return what a peer can give that has some blocks."""
    rate = state.learned.of(peer.path, peer.link, now=now)
    if rate is None:
        return Supply(peer.path, blocks, 0.0, peer.link.latency_ns or 0)
    latency_ns = rate.latency_ns if peer.link.latency_ns is None else peer.link.latency_ns
    believed = rate.believed_bytes_per_s(now=now)
    return Supply(peer.path, blocks, believed, latency_ns or 0, rate.age_ns(now=now))


def predict(needs: Sequence[Need], supplies: Sequence[Supply]) -> Prediction:
    """Say when the critical blocks and when all blocks will be here.

    Args:
        needs: What has to come, in the order in which it will be asked for.
        supplies: Who can give it.

    Returns:
        The prediction; as far as it goes, if blocks of a later class cannot be had.

    Cost: O(sources · runs) for each class.
    """
    known = [supply for supply in supplies if supply.rate_bytes_per_s]
    total_ns = 0
    critical_ns: int | None = None
    for index, need in enumerate(needs):
        if need.blocks:
            time_ns = _time_ns(need, known)
            if time_ns is None:
                is_critical_left = any(
                    left.criticality is Criticality.CRITICAL for left in needs[index:]
                )
                reached_ns = None if is_critical_left else critical_ns
                return Prediction(reached_ns, None, _obstacle(need, supplies))
            total_ns += time_ns if total_ns else time_ns + _start_ns(known)
        if need.criticality is Criticality.CRITICAL:
            critical_ns = total_ns
    return Prediction(critical_ns, total_ns, _remark(supplies) if total_ns else "")


def _remark(supplies: Sequence[Supply]) -> str:
    """Say what a prediction ignores, and what it counts on less."""
    unknown = [supply.path for supply in supplies if not supply.rate_bytes_per_s]
    old = [supply for supply in supplies if supply.rate_bytes_per_s and supply.age_ns > FRESH_NS]
    remarks = []
    if unknown:
        remarks.append(f"not counting {_listed(unknown)}, whose rates are not known yet")
    if old:
        oldest = format_age(max(supply.age_ns for supply in old) / SECOND)
        whose = _listed(supply.path for supply in old)
        remarks.append(f"counting {whose} for less, measured up to {oldest} ago")
    return "; ".join(remarks)


def _time_ns(need: Need, supplies: Iterable[Supply]) -> int | None:
    """Return how long a class takes; ``None`` if some of it cannot be had from these sources.

    All holders work at once, but each only on what it has: what is left when those that have
    little of it have brought all theirs, the others must bring alone, however fast those are.
    """
    held = [(supply, supply.blocks & need.blocks) for supply in supplies]
    holders = sorted(held, key=lambda each: (len(each[1]), each[0].path))
    left, longest_s = need.blocks, 0.0
    for index, (_, blocks) in enumerate(holders):
        rate = sum(other.rate_bytes_per_s for other, has in holders[index:] if has & left)
        left_bytes = need.size_bytes * len(left) / len(need.blocks)
        longest_s = max(longest_s, left_bytes / rate) if rate else longest_s
        left -= blocks
    return None if left else int(longest_s * SECOND)


def _start_ns(supplies: Sequence[Supply]) -> int:
    """Return what is lost until all sources deliver at their rate.

    Each is idle for a round trip to connect and one to its first byte, while which the others
    work: so it counts by its share of the rate. After that the window of the connection is
    open, or opens within its first range.
    """
    rate = sum(supply.rate_bytes_per_s for supply in supplies)
    return int(sum(2 * each.latency_ns * each.rate_bytes_per_s for each in supplies) / rate)


def _obstacle(need: Need, supplies: Sequence[Supply]) -> str:
    """Say why the time of a class is not known."""
    if need.blocks - union(supply.blocks for supply in supplies):
        return "nobody who is trusted has all of it"
    unknown = [supply.path for supply in supplies if not supply.rate_bytes_per_s]
    if len(unknown) == len(supplies):
        return f"no rate is known yet, of {_listed(unknown)}"
    return f"some blocks only {_listed(unknown)} may have, whose rates are not known yet"


def _listed(paths: Iterable[PathId]) -> str:
    names = sorted(paths)
    more = f" and {len(names) - _SOURCES_NAMED_MAX} more" if len(names) > _SOURCES_NAMED_MAX else ""
    return f"{', '.join(names[:_SOURCES_NAMED_MAX])}{more}"
