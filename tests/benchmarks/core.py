"""What the scheduler costs: CPU time for each range, memory for each block: make bench-core.

A hundred sources that have everything, a version of 2²⁰ blocks. A range is ordered, reported
while it comes and at its end; commits end at once. Invariants are not checked.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Iterable
from random import Random

from ckptd.core.effects import CommitBlocks, Effect, FetchManifest, FetchRange, PrepareStaging
from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    Event,
    ManifestArrived,
    RangeEnded,
    RangeOutcome,
    RangeProgressed,
    StagingPrepared,
)
from ckptd.core.scheduler import Scheduler
from ckptd.limits import MIB, MS
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId
from ckptd.model.space import AddressSpace
from tests.support.scheduling import Saved, holds, saved, wanted

SOURCES = 100
BLOCKS = 2**20
PER_RANGE_MAX_US = 100.0
PER_BLOCK_MAX_BYTES = 64.0
STEP_NS = MS // 4
"""Between two events: a gigabyte a second in ranges of a few megabytes."""


class Recovering:
    """One recovery whose sources deliver in the order in which they were asked."""

    def __init__(self, version: Saved) -> None:
        self.scheduler = Scheduler(Random(0))
        self.now = 0
        self._version = version
        self._orders: deque[FetchRange] = deque()
        for index in range(SOURCES):
            self.tell(holds(NodeId(f"n{index:03}"), version))
        self.tell(DiscoverySettled())
        self.tell(wanted(version))

    def run(self, range_count: int) -> int:
        """Let so many ranges come, or all that are left; return how many came."""
        for done in range(range_count):
            if not self._orders:
                return done
            order = self._orders.popleft()
            size_bytes = self._version.space.run_bytes(order.blocks)
            middle = (order.blocks.start + order.blocks.end) // 2
            self.tell(RangeProgressed(order.transfer, size_bytes // 2, middle))
            self.tell(RangeProgressed(order.transfer, size_bytes, order.blocks.end))
            self.tell(RangeEnded(order.transfer, RangeOutcome.DELIVERED))
        return range_count

    def tell(self, event: Event) -> None:
        """Report a fact and carry out what follows."""
        self.now += STEP_NS
        effects = self.scheduler.handle(event, now=self.now)
        self.scheduler.next_deadline()
        for following in self._carried_out(effects):
            self.tell(following)

    def _carried_out(self, effects: Iterable[Effect]) -> list[Event]:
        events: list[Event] = []
        for effect in effects:
            match effect:
                case FetchRange():
                    self._orders.append(effect)
                case FetchManifest():
                    space = self._version.space
                    events.append(ManifestArrived(effect.recovery, effect.source, space))
                case PrepareStaging():
                    events.append(StagingPrepared(effect.recovery, BlockSet()))
                case CommitBlocks():
                    events.append(BlocksCommitted(effect.recovery))
                case _:
                    pass
        return events


def cpu_per_range_us(version: Saved, range_count: int) -> float:
    """Return the CPU time that one range costs, over all its events, in microseconds."""
    recovering = Recovering(version)
    recovering.run(2 * SOURCES)  # rates become known
    began_ns = time.process_time_ns()  # once: the call itself may cost more than an event
    done = recovering.run(range_count)
    return (time.process_time_ns() - began_ns) / done / 1000


def memory_per_block_bytes(version: Saved, range_count: int) -> float:
    """Return what the address space and the scheduler take at most, beside the manifest."""
    manifest = version.space.manifest
    gc.collect()
    tracemalloc.start()
    recovering = Recovering(Saved(AddressSpace(manifest), version.digest))
    recovering.run(range_count)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak_bytes / BLOCKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="take the median (%(default)s)")
    parser.add_argument("--ranges", type=int, default=5000, help="in each (%(default)s)")
    chosen = parser.parse_args()
    units = 64
    version = saved(*[BLOCKS // units] * units, block_size_bytes=MIB)
    times_us = [cpu_per_range_us(version, chosen.ranges) for _ in range(chosen.rounds)]
    memory_bytes = memory_per_block_bytes(version, chosen.ranges)
    print(f"{SOURCES} sources, {BLOCKS} blocks, {chosen.ranges} ranges")
    rows = (
        ("CPU per range, µs", statistics.median(times_us), PER_RANGE_MAX_US),
        ("memory per block, bytes", memory_bytes, PER_BLOCK_MAX_BYTES),
    )
    for name, value, to_reach in rows:
        print(f"{name:26}{value:8.1f}   to reach {to_reach:g}")
    print("CPU per range of each round, µs: " + " ".join(f"{each:.0f}" for each in times_us))


if __name__ == "__main__":
    main()
