"""Carries out orders to fetch ranges: opens lanes to sources, hands ranges to them, closes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias

from ckptd.core.effects import CloseLane, FetchRange
from ckptd.core.events import RangeEnded, Reporting, SourceTroubled
from ckptd.daemon.host.disk_calls import DiskCalls
from ckptd.daemon.parts import Transport
from ckptd.daemon.recover.coded_asking import CodedAsking
from ckptd.daemon.recover.disk_lane import CopyOrder, DiskLane
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.model.holdings import Holding
from ckptd.model.ids import OWN_DISKS, Digest, LaneId, PathId
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.lane import AskedRange, RangeOrder, SocketLane
from ckptd.store.trees.local_blocks import LocalBlock

ClaimOf: TypeAlias = Callable[[PathId, Digest], Holding | None]
"""Returns what a source says that it has of a version; ``None``: nothing."""


class Fetching:
    """All lanes.

    Args:
        transport: By what sources are talked to.
        pool: Buffers for bodies.
        book: All recoveries.
        peering: Knows where sources answer.
        disk_calls: Hears of every write.
        report: Takes the events of ranges.
        note_wrong: Called with blocks on this node's disks that are not what was recorded.
        claim: Returns what a source says that it has of a version.
        coded: Says whether blocks are asked for coded.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        transport: Transport,
        pool: BufferPool,
        book: RecoveryBook,
        peering: Peering,
        *,
        disk_calls: DiskCalls,
        report: Reporting,
        note_wrong: Callable[[LocalBlock], None],
        claim: ClaimOf,
        coded: CodedAsking,
    ) -> None:
        self._transport = transport
        self._pool = pool
        self._book = book
        self._peering = peering
        self._disk_calls = disk_calls
        self._report = report
        self._note_wrong = note_wrong
        self._claim = claim
        self._coded = coded
        self._lanes: dict[LaneId, SocketLane | DiskLane] = {}

    @property
    def lane_count(self) -> int:
        """How many lanes are open."""
        return len(self._lanes)

    def fetch(self, effect: FetchRange, tasks: asyncio.TaskGroup) -> None:
        """Ask a source for a range; on a new lane if the order names one, which ``tasks`` runs."""
        if effect.source == OWN_DISKS:
            self._copy(effect, tasks)
            return
        recovery = self._book.under_way(effect.recovery)
        staging = recovery.known_staging()
        lane = self._lanes.get(effect.lane)
        if lane is None:
            end = self._peering.end_of(effect.source)
            if end is None:
                self._report(RangeEnded(effect.transfer, RangeOutcome.UNREACHABLE))
                return
            identity = self._transport.identity
            lane = self._lanes[effect.lane] = SocketLane(
                end.address,
                pool=self._pool,
                report=self._report,
                peer=None if identity is None else (identity, end.node),
                throttles=self._transport.throttles,
                name=effect.source,
                note_trouble=lambda trouble: self._report(SourceTroubled(effect.source, trouble)),
            )
            tasks.create_task(lane.run())
        assert isinstance(lane, SocketLane)
        asked = self._asked(effect, recovery)
        lane.request(
            RangeOrder(
                transfer=effect.transfer,
                asked=asked,
                blocks=effect.blocks,
                space=recovery.known_space(),
                urgency=_urgency(effect, recovery),
                sink=self._disk_calls.watched(staging),
                coded=self._coded.ask(
                    effect.source, asked, recovery, lanes=self._lane_count(effect.source)
                ),
                note=self._coded.note_of(effect.source, recovery),
                asked_ns=time.monotonic_ns(),
            )
        )

    def _lane_count(self, source: PathId) -> int:
        """Return how many lanes lead to a source."""
        return sum(
            isinstance(lane, SocketLane) and lane.name == source for lane in self._lanes.values()
        )

    def _asked(self, effect: FetchRange, recovery: OpenRecovery) -> AskedRange:
        """Return what the source is asked for, as it knows it."""
        if recovery.joined is None:
            return AskedRange.of(effect.digest, recovery.known_space(), effect.blocks)
        return recovery.joined.asked_for(
            effect.blocks,
            lambda digest: self._claim(effect.source, digest) is not None,
        )

    def _copy(self, effect: FetchRange, tasks: asyncio.TaskGroup) -> None:
        """Have a range copied that lies on this node's disks."""
        recovery = self._book.under_way(effect.recovery)
        lane = self._lanes.get(effect.lane)
        if lane is None:
            lane = self._lanes[effect.lane] = DiskLane(
                report=self._report,
                disk_write=self._transport.throttles.disk_write,
                disk_calls=self._disk_calls,
                note_wrong=self._note_wrong,
            )
            tasks.create_task(lane.run())
        assert isinstance(lane, DiskLane)
        lane.request(
            CopyOrder(
                transfer=effect.transfer,
                blocks=effect.blocks,
                space=recovery.known_space(),
                urgency=_urgency(effect, recovery),
                staging=recovery.known_staging(),
            )
        )

    def close_lane(self, effect: CloseLane) -> None:
        """Close a lane, if it is open."""
        lane = self._lanes.pop(effect.lane, None)
        if lane is not None:
            lane.close()

    def cut(self, address: tuple[str, int]) -> None:
        """End every lane to a source that is not to be used any more."""
        for lane in self._lanes.values():
            if isinstance(lane, SocketLane) and lane.address == address:
                lane.cut()

    def close(self) -> None:
        """Close every lane."""
        for lane in self._lanes.values():
            lane.close()


def _urgency(effect: FetchRange, recovery: OpenRecovery) -> Urgency:
    return Urgency.of(effect.criticality, is_background=recovery.record.is_background)
