"""What the scheduler costs: CPU time for each range, memory for each block: make bench-core.

A hundred sources that have everything, a version of 2²⁰ blocks, a gigabyte a second in all, and a
disk that takes twice that. A range is ordered, reported when half of it is here, and reported and
ended when all of it is, as the real lanes do. Invariants are not checked.
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
    RangeProgressed,
    StagingPrepared,
)
from ckptd.core.scheduler import Scheduler
from ckptd.limits import GIB, MIB, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId
from ckptd.model.space import AddressSpace
from ckptd.model.words import RangeOutcome
from tests.support.scheduling import Saved, holds, saved, wanted

SOURCES = 100
BLOCKS = 2**20
PER_RANGE_MAX_US = 100.0
PER_BLOCK_MAX_BYTES = 64.0
RATE = 1 * GIB
"""What all sources deliver together in a second: a range is 2.5 MiB then."""
DISK_RATE = 2 * GIB
"""What is made durable in a second."""


class Recovering:
    """One recovery whose sources deliver in the order in which they were asked."""

    def __init__(self, version: Saved) -> None:
        self.scheduler = Scheduler(Random(0))
        self.now = 0
        self._version = version
        self._orders: deque[FetchRange] = deque()
        self._commit: tuple[int, BlocksCommitted] | None = None
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
            self._pass_time(size_bytes * SECOND // (2 * RATE))
            self.tell(RangeProgressed(order.transfer, size_bytes // 2, middle))
            self._pass_time(size_bytes * SECOND // (2 * RATE))
            self.tell(
                RangeProgressed(order.transfer, size_bytes, order.blocks.end),
                RangeEnded(order.transfer, RangeOutcome.DELIVERED),
            )
        return range_count

    def _pass_time(self, time_ns: int) -> None:
        """Let time pass, and a commit end if it takes no longer."""
        then_ns = self.now + time_ns
        if self._commit is not None and self._commit[0] <= then_ns:
            self.now, committed = self._commit
            self._commit = None
            self.tell(committed)
        self.now = then_ns

    def tell(self, *events: Event) -> None:
        """Report facts that became known together, and carry out what follows."""
        effects = self.scheduler.handle(*events, now=self.now)
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
                    size_bytes = self._version.space.set_bytes(effect.blocks)
                    ends_ns = self.now + size_bytes * SECOND // DISK_RATE
                    self._commit = ends_ns, BlocksCommitted(effect.recovery)
                case _:
                    pass
        return events


def cpu_per_range_us(version: Saved, range_count: int) -> float:
    """Return the CPU time that one range costs, over all its events, in microseconds."""
    recovering = Recovering(version)
    recovering.run(10 * SOURCES)  # rates become known
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
