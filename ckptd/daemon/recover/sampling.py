"""Fetches a little from a peer the way a recovery does, and keeps nothing of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptd.core.events import Event, RangeEnded, RangeProgressed
from ckptd.limits import KIB, MIB, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId, TransferId
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.net.connection.identity import Identity
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.lane import AskedRange, RangeOrder, SocketLane
from ckptd.net.throttle import Throttles
from ckptd.store.files.hashing import digest_of

SAMPLE_BYTES_MAX: Final = 8 * MIB
"""Enough to see a link of 10 Gbit/s; under a second on one of 100 Mbit/s."""
SAMPLE_BYTES_MIN: Final = 1 * MIB
"""Less says more about the way to the first byte than about the rate."""
_STREAM_S_MIN: Final = 0.02
"""A lane reports a hundred times a second; over a shorter time its reports say little."""
_SAMPLED_BLOCKS_MAX: Final = 64 * KIB
"""A manifest of so many blocks has 2 MiB; larger ones are not fetched for a sample."""
SAMPLE_S: Final = 3.0
"""A slow peer is cut off after this; what has come says how slow it is."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a peer delivered.

    Attributes:
        size_bytes: Bytes of whole blocks that came.
        duration_s: How long that took, connecting included.
        first_s: When the first of them came …
        first_bytes: … and how many came by then.
        bad_blocks: How many had a wrong digest.
        outcome: How it ended; ``CLOSED`` if the time was over.
        trouble: Why nothing came, as half a sentence about the peer, if it is known.
    """

    size_bytes: int
    duration_s: float
    first_s: float
    first_bytes: int
    bad_blocks: int
    outcome: RangeOutcome
    trouble: str = ""

    @property
    def rate_bytes_per_s(self) -> float | None:
        """How fast it delivers once it does; ``None`` if nothing came or some of it was wrong."""
        if self.bad_blocks or not self.size_bytes:
            return None
        if self.duration_s - self.first_s >= _STREAM_S_MIN and self.size_bytes > self.first_bytes:
            return (self.size_bytes - self.first_bytes) / (self.duration_s - self.first_s)
        return self.size_bytes / max(self.duration_s, 1 / SECOND)

    @property
    def is_sound(self) -> bool:
        """Whether enough came to believe that for long."""
        return self.size_bytes >= SAMPLE_BYTES_MIN

    @property
    def latency_ns(self) -> int:
        """About the time from a request to its first byte; the other half went into connecting."""
        return int(self.first_s * SECOND / 2)


class _Discarding:
    """Verifies blocks and forgets them."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.bad_blocks = 0

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        offset = 0
        bad = []
        for place in places:
            if digest_of(data[offset : offset + place.size_bytes]) != place.digest:
                bad.append(place.block)
            offset += place.size_bytes
        self.size_bytes += offset
        self.bad_blocks += len(bad)
        return tuple(bad)


def worth_sampling(holdings: Iterable[Holding]) -> Holding | None:
    """Return what to fetch a little of: enough bytes, and a short manifest; ``None``: nothing is.

    Args:
        holdings: What a peer says it has.
    """
    small = [
        holding
        for holding in holdings
        if holding.blocks and holding.block_count <= _SAMPLED_BLOCKS_MAX
    ]

    def costs(holding: Holding) -> tuple[int, int]:
        return max(SAMPLE_BYTES_MAX - holding.size_bytes, 0), holding.block_count

    return min(small, key=costs, default=None)


async def take_sample(
    address: tuple[str, int],
    holding: Holding,
    space: AddressSpace,
    pool: BufferPool,
    *,
    peer: tuple[Identity, NodeId] | None,
    throttles: Throttles,
) -> Sample | None:
    """Fetch some blocks of a holding, as background traffic: the source serves recoveries first.

    Args:
        address: Where the peer answers.
        holding: What it says it has.
        space: The version that this is a holding of.
        pool: Buffers for the bodies.
        peer: Who must answer, and to whom, as for a :class:`~ckptd.net.lane.lane.SocketLane`.
        throttles: Keep to the limits.

    Returns:
        What came; ``None`` if the holding is empty.
    """
    run = holding.blocks.first_run()
    if run is None or run[1] > space.block_count:
        return None
    end = min(space.run_within(run[0], SAMPLE_BYTES_MAX).end, run[1])
    return await fetch_run(
        address,
        SampledRun(holding.digest, space, BlockRun(run[0], end), Urgency.BACKGROUND),
        pool,
        peer=peer,
        throttles=throttles,
        patience_s=SAMPLE_S,
    )


class SampledRun(NamedTuple):
    """What is asked for.

    Attributes:
        digest: Of which version.
        space: What that consists of.
        blocks: Which blocks.
        urgency: The class of the request.
    """

    digest: Digest
    space: AddressSpace
    blocks: BlockRun
    urgency: Urgency


async def fetch_run(
    address: tuple[str, int],
    wanted: SampledRun,
    pool: BufferPool,
    *,
    peer: tuple[Identity, NodeId] | None,
    throttles: Throttles,
    patience_s: float,
) -> Sample:
    """Fetch some blocks over a connection of their own, verify them, and keep nothing.

    Args:
        address: Where the peer answers.
        wanted: What to ask for.
        pool: Buffers for the bodies.
        peer: Who must answer, and to whom, as for a :class:`~ckptd.net.lane.lane.SocketLane`.
        throttles: Keep to the limits.
        patience_s: How long to wait for all of it.
    """
    sink = _Discarding()
    ended = asyncio.get_running_loop().create_future()
    first: list[tuple[int, int]] = []

    def report(*events: Event) -> None:
        for event in events:
            if isinstance(event, RangeProgressed) and event.received_bytes and not first:
                first.append((time.monotonic_ns(), event.received_bytes))
            if isinstance(event, RangeEnded) and not ended.done():
                ended.set_result(event.outcome)

    troubles: list[str] = []
    lane = SocketLane(
        address,
        pool=pool,
        report=report,
        peer=peer,
        throttles=throttles,
        note_trouble=troubles.append,
    )
    asked = AskedRange.of(wanted.digest, wanted.space, wanted.blocks)
    order = RangeOrder(TransferId(0), asked, wanted.blocks, wanted.space, wanted.urgency, sink)
    start_ns = time.monotonic_ns()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lane.run())
        lane.request(order)
        try:
            async with asyncio.timeout(patience_s):
                outcome = await asyncio.shield(ended)
        except TimeoutError:
            outcome = RangeOutcome.CLOSED
        finally:
            lane.close()
    end_ns = time.monotonic_ns()
    first_ns, first_bytes = first[0] if first else (end_ns, 0)
    return Sample(
        sink.size_bytes,
        (end_ns - start_ns) / SECOND,
        (first_ns - start_ns) / SECOND,
        first_bytes,
        sink.bad_blocks,
        outcome,
        troubles[-1] if troubles else "",
    )
