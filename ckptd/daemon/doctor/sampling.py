"""Fetches a little from a peer the way a recovery does, and keeps nothing of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.core.events import Event, RangeEnded
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.holdings import Holding
from ckptd.model.ids import NodeId, TransferId
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.net.connection.identity import Identity
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.lane import RangeOrder, SocketLane
from ckptd.net.throttle import Throttles
from ckptd.store.files.hashing import digest_of

SAMPLE_BYTES_MAX: Final = 8 * MIB
"""Enough to see a link of 10 Gbit/s; under a second on one of 100 Mbit/s."""
SAMPLE_S: Final = 3.0
"""A slow peer is cut off after this; what has come says how slow it is."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a peer delivered.

    Attributes:
        size_bytes: Bytes of whole blocks that came.
        duration_s: How long that took, connecting included.
        bad_blocks: How many had a wrong digest.
        outcome: How it ended; ``CLOSED`` if the time was over.
    """

    size_bytes: int
    duration_s: float
    bad_blocks: int
    outcome: RangeOutcome


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
    sink = _Discarding()
    ended = asyncio.get_running_loop().create_future()

    def report(*events: Event) -> None:
        for event in events:
            if isinstance(event, RangeEnded) and not ended.done():
                ended.set_result(event.outcome)

    lane = SocketLane(address, pool=pool, report=report, peer=peer, throttles=throttles)
    order = RangeOrder(
        TransferId(0), holding.digest, BlockRun(run[0], end), space, Urgency.BACKGROUND, sink
    )
    start_ns = time.monotonic_ns()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lane.run())
        lane.request(order)
        try:
            async with asyncio.timeout(SAMPLE_S):
                outcome = await asyncio.shield(ended)
        except TimeoutError:
            outcome = RangeOutcome.CLOSED
        finally:
            lane.close()
    duration_s = (time.monotonic_ns() - start_ns) / SECOND
    return Sample(sink.size_bytes, duration_s, sink.bad_blocks, outcome)
